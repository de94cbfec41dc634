/** Prints which version this is. */
import { loadBuildInfo } from '../lib/build-info.ts';

export async function printVersion(asJson: boolean): Promise<void> {
  const info = await loadBuildInfo();
  console.log(asJson ? JSON.stringify(info, undefined, 2) : `hammerhead ${info.full}`);
}
