/**
 * Events with their bundled aggregations, as JSON text.
 *
 * https://spec.matrix.org/v1.19/client-server-api/#aggregations-of-child-events
 */
import { type EventReader, renderClientEventText } from '../../engine/client-events.ts';
import type { VisibleEvent } from '../../engine/visible-events.ts';
import type { Aggregation, AggregationsById } from '../../rooms/aggregations.ts';

export interface BundledRendering {
  readonly aggregations: AggregationsById;
  readonly reader: EventReader;
  readonly now: number;
}

export function renderBundledEvent(event: VisibleEvent, rendering: BundledRendering): string {
  const text = renderClientEventText(event, rendering.reader, rendering.now);
  const aggregation = rendering.aggregations.get(event.event.eventId);
  if (aggregation === undefined) return text;
  // The text ends with `unsigned`, which is never empty.
  return `${text.slice(0, -'}}'.length)},"m.relations":${renderRelations(aggregation, rendering)}}}`;
}

function renderRelations({ thread, edit }: Aggregation, rendering: BundledRendering): string {
  const fields: string[] = [];
  if (thread !== undefined) {
    const { count, hasParticipated, latest } = thread;
    const latestEvent = renderBundledEvent(latest, rendering);
    fields.push(
      `"m.thread":{"latest_event":${latestEvent},"count":${count},"current_user_participated":${hasParticipated}}`,
    );
  }
  if (edit !== undefined) {
    fields.push(`"m.replace":${renderClientEventText(edit, rendering.reader, rendering.now)}`);
  }
  return `{${fields.join()}}`;
}
