/**
 * The S3-compatible store of the configuration, in the form in which it is used.
 */
import type { FileConfig } from './schema.ts';

type S3Section = NonNullable<FileConfig['mediaRepo']['storage']['s3']>;

/** Of a section that was checked: it has a bucket, and both parts of the access key or none. */
export function toS3Settings({ endpoint, region, bucket = '', prefix, accessKey, secretKey, pathStyle }: S3Section) {
  const hasKey = accessKey !== undefined && secretKey !== undefined;
  const credentials = hasKey ? { accessKeyId: accessKey, secretAccessKey: secretKey.reveal() } : undefined;
  return { endpoint, region, bucket, prefix, credentials, pathStyle };
}
