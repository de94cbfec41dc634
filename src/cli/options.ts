/** What several commands share: options, and examples in the help. */
import { type Command, InvalidArgumentError, Option } from 'commander';

export function configOption(): Option {
  return new Option('-c, --config <path>', 'the configuration file').default('config.yaml', './config.yaml');
}

/** Shows how the command is used, below its help. */
export function addExamples(command: Command, examples: readonly string[]): Command {
  return command.addHelpText('after', `\nExamples:\n${examples.map((example) => `  ${example}`).join('\n')}`);
}

/** Reads an option's value that has to be a whole number of at least `minimum`. */
export function wholeNumber(minimum: number): (text: string) => number {
  return (text) => {
    const number = /^\d{1,15}$/.test(text) ? Number(text) : Number.NaN;
    if (number >= minimum) return number;
    throw new InvalidArgumentError(`expected a whole number of at least ${minimum}`);
  };
}
