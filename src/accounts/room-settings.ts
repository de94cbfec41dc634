/**
 * What users set for a room moves with them when the room is upgraded: their push rules for it and their tags.
 *
 * https://spec.matrix.org/v1.19/client-server-api/#room-upgrades
 */
import type { RoomId, UserId } from '../protocol/ids.ts';
import { placePushRule } from '../protocol/push-ruleset.ts';
import type { AccountData } from './account-data.ts';
import type { PushRules } from './push-rules.ts';

export interface RoomMove {
  readonly from: RoomId;
  readonly to: RoomId;
}

export interface RoomSettings {
  copy(userId: UserId, move: RoomMove): Promise<void>;
}

export interface RoomSettingsOptions {
  readonly accountData: AccountData;
  readonly pushRules: PushRules;
}

export function createRoomSettings({ accountData, pushRules }: RoomSettingsOptions): RoomSettings {
  const copyRule = async (userId: UserId, { from, to }: RoomMove): Promise<void> => {
    const has = (rules: Awaited<ReturnType<PushRules['load']>>) => rules.room.find(({ rule_id: id }) => id === from);
    if (has(await pushRules.load(userId)) === undefined) return;
    await pushRules.change(userId, (rules) => {
      const rule = has(rules);
      return rule === undefined ? rules : placePushRule(rules, 'room', { rule: { ...rule, rule_id: to } });
    });
  };
  const copyTags = async (userId: UserId, { from, to }: RoomMove): Promise<void> => {
    const tags = await accountData.load({ userId, roomId: from, type: 'm.tag' });
    if (tags !== undefined) await accountData.set({ userId, roomId: to, type: 'm.tag' }, tags);
  };
  return {
    async copy(userId, move) {
      await copyRule(userId, move);
      await copyTags(userId, move);
    },
  };
}
