/**
 * Stream tokens: how far a reader has come, per writer. The text form is opaque to clients: `h1` and for each writer its
 * id and position, such as `h1_1.4711`; what one of our nodes gave, any other can read.
 */
export interface StreamToken {
  /** Position reached in each writer's stream; a writer that is not named stands at 0. */
  readonly positions: ReadonlyMap<number, number>;
}

const PREFIX = 'h1';
/** Writers per token: bounds the work on a hostile token. */
const MAX_WRITERS = 64;
const MAX_WRITER_ID = 32_767;

export function createStreamToken(writerId: number, position: number): StreamToken {
  return { positions: new Map([[writerId, position]]) };
}

export function positionOf(token: StreamToken, writerId: number): number {
  return token.positions.get(writerId) ?? 0;
}

export function formatStreamToken(token: StreamToken): string {
  return [PREFIX, ...[...token.positions].map(([writerId, position]) => `${writerId}.${position}`)].join('_');
}

/** The token that `text` names, or undefined where we never made such a text. */
export function parseStreamToken(text: string): StreamToken | undefined {
  const [prefix, ...parts] = text.split('_', MAX_WRITERS + 2);
  if (prefix !== PREFIX || parts.length === 0 || parts.length > MAX_WRITERS) return undefined;
  const positions = new Map<number, number>();
  for (const part of parts) {
    const [writer = '', position = '', ...more] = part.split('.', 3);
    const writerId = parseNatural(writer);
    const reached = parseNatural(position);
    if (more.length > 0 || writerId === undefined || reached === undefined || writerId > MAX_WRITER_ID)
      return undefined;
    positions.set(writerId, reached);
  }
  return { positions };
}

function parseNatural(text: string): number | undefined {
  if (!/^\d{1,16}$/.test(text)) return undefined;
  const value = Number(text);
  return Number.isSafeInteger(value) ? value : undefined;
}
