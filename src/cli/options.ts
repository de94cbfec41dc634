/** Options that several commands share. */
import { Option } from 'commander';

export function configOption(): Option {
  return new Option('-c, --config <path>', 'the configuration file').default('config.yaml', './config.yaml');
}
