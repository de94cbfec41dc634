/**
 * Reading the configuration file anew.
 */

import { Type } from 'typebox';
import { parseJsonText } from '../../lib/parse-json.ts';
import { MatrixError } from '../../protocol/errors.ts';
import { type AdminEndpoint, defineAdminEndpoint } from './admin-endpoint.ts';

export interface AdminConfigOptions {
  /** Takes over what can change without a restart, and gives the new configuration; whatever it throws changes nothing. */
  reloadConfig(): Promise<object>;
}

export function adminReloadConfigEndpoints(options: AdminConfigOptions): readonly AdminEndpoint[] {
  return [
    defineAdminEndpoint({
      method: 'POST',
      path: '/_hammerhead/v0/admin/reload-config',
      auth: 'admin',
      doc: {
        summary: 'Reload Configuration',
        answers: {
          200: Type.Object({}, { additionalProperties: true, description: 'As in the file, without secrets' }),
        },
      },
      async handle() {
        try {
          return toFileForm(await options.reloadConfig());
        } catch (cause) {
          const reason = cause instanceof Error ? cause.message : String(cause);
          throw new MatrixError('M_UNKNOWN', `The configuration could not be reloaded: ${reason}`, { cause });
        }
      },
    }),
  ];
}

/** With the file's keys; secrets turn themselves into placeholders. */
function toFileForm(config: object): object {
  const plain: unknown = parseJsonText(JSON.stringify(config));
  return Object(toSnakeCase(plain));
}

function toSnakeCase(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(toSnakeCase);
  if (typeof value !== 'object' || value === null) return value;
  const entries = Object.entries(value).map(([key, inner]) => [
    key.replaceAll(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`),
    toSnakeCase(inner),
  ]);
  return Object.fromEntries(entries);
}
