/**
 * The plans that PostgreSQL's auto_explain wrote into its log, one for each statement that was executed.
 */
import { listAt } from '../../test/support/json.ts';

export interface ExecutedPlan {
  readonly statement: string;
  readonly milliseconds: number;
  /** Rows that scans looked at, those that a filter threw away included. */
  readonly read: number;
  readonly given: number;
  /** Tables that were read from end to end. */
  readonly wholeTables: readonly { readonly table: string; readonly rows: number }[];
}

/** Makes PostgreSQL write every statement's plan with what it really read. */
export function explainEverything(database: string): readonly string[] {
  const set = (name: string, value: string): string => `alter database ${database} set ${name} = ${value}`;
  return [
    set('session_preload_libraries', "'auto_explain'"),
    set('"auto_explain.log_min_duration"', "'0'"),
    set('"auto_explain.log_analyze"', "'on'"),
    set('"auto_explain.log_timing"', "'off'"),
    set('"auto_explain.log_format"', "'json'"),
  ];
}

/** The plans in a piece of the log: JSON behind a line that ends with `plan:`, indented by tabs. */
export function readPlans(log: string): readonly ExecutedPlan[] {
  const plans: ExecutedPlan[] = [];
  const lines = log.split('\n');
  for (let index = 0; index < lines.length; index++) {
    const duration = /duration: ([\d.]+) ms {2}plan:$/.exec(lines[index] ?? '')?.[1];
    if (duration === undefined) continue;
    const json: string[] = [];
    while (lines[index + 1]?.startsWith('\t') === true) json.push(lines[++index]?.slice(1) ?? '');
    plans.push(toPlan(JSON.parse(json.join('\n')), Number(duration)));
  }
  return plans;
}

type PlanNode = Readonly<Record<string, unknown>>;

function toPlan(parsed: PlanNode, milliseconds: number): ExecutedPlan {
  const root = toNode(parsed['Plan']);
  const nodes = [...walk(root)];
  const scans = nodes.filter((node) => String(node['Node Type']).endsWith('Scan') && 'Relation Name' in node);
  return {
    statement: String(parsed['Query Text']).replaceAll(/\s+/g, ' ').trim(),
    milliseconds,
    read: scans.reduce((sum, node) => sum + rowsRead(node), 0),
    given: rowsOf(root),
    wholeTables: scans
      .filter((node) => node['Node Type'] === 'Seq Scan')
      .map((node) => ({ table: String(node['Relation Name']), rows: rowsRead(node) })),
  };
}

function* walk(node: PlanNode): Generator<PlanNode> {
  yield node;
  if (!('Plans' in node)) return;
  for (const child of listAt(node, 'Plans')) yield* walk(toNode(child));
}

function toNode(value: unknown): PlanNode {
  if (typeof value !== 'object' || value === null) throw new Error('auto_explain wrote something else than a plan');
  return { ...value };
}

const rowsOf = (node: PlanNode): number => Number(node['Actual Rows']) * Number(node['Actual Loops']);

function rowsRead(node: PlanNode): number {
  const thrownAway = Number(node['Rows Removed by Filter'] ?? 0) + Number(node['Rows Removed by Index Recheck'] ?? 0);
  return (Number(node['Actual Rows']) + thrownAway) * Number(node['Actual Loops']);
}
