/**
 * https://spec.matrix.org/v1.19/client-server-api/#push-rules-api
 */
import { Type } from 'typebox';
import type { PushRules } from '../../accounts/push-rules.ts';
import { defineEndpoint, type Endpoint } from '../../http/endpoint.ts';
import { AnyObject } from '../../http/schema.ts';
import { MatrixError } from '../../protocol/errors.ts';
import type { UserId } from '../../protocol/ids.ts';
import { parsePushActions, parsePushRule } from '../../protocol/push-rule-parse.ts';
import {
  changePushRule,
  findPushRule,
  isPushRuleKind,
  type PushRule,
  type PushRuleKind,
  type PushRuleRefusal,
  placePushRule,
  removePushRule,
} from '../../protocol/push-ruleset.ts';
import { clientPaths } from './room-requests.ts';

export interface PushRuleEndpointsOptions {
  readonly pushRules: PushRules;
}

const RULE = clientPaths('/pushrules/global/{kind}/{ruleId}');
const ENABLED = clientPaths('/pushrules/global/{kind}/{ruleId}/enabled');
const ACTIONS = clientPaths('/pushrules/global/{kind}/{ruleId}/actions');
const SPEC = 'https://spec.matrix.org/v1.19/client-server-api/#';

export function createPushRuleEndpoints(options: PushRuleEndpointsOptions): readonly Endpoint[] {
  return [...readEndpoints(options), ...writeEndpoints(options), ...propertyEndpoints(options)];
}

function readEndpoints({ pushRules }: PushRuleEndpointsOptions): readonly Endpoint[] {
  return [
    defineEndpoint({
      method: 'GET',
      path: [...clientPaths('/pushrules/'), ...clientPaths('/pushrules')],
      auth: 'user',
      spec: `${SPEC}get_matrixclientv3pushrules`,
      handle: async ({ requester }) => ({ global: await pushRules.load(requester.userId) }),
    }),
    defineEndpoint({
      method: 'GET',
      path: [...clientPaths('/pushrules/global/'), ...clientPaths('/pushrules/global')],
      auth: 'user',
      spec: `${SPEC}get_matrixclientv3pushrulesglobal`,
      handle: ({ requester }) => pushRules.load(requester.userId),
    }),
    defineEndpoint({
      method: 'GET',
      path: RULE,
      auth: 'user',
      spec: `${SPEC}get_matrixclientv3pushrulesglobalkindruleid`,
      handle: ({ requester, params }) => loadRule(pushRules, requester.userId, params),
    }),
  ];
}

const Placement = Type.Object({ before: Type.Optional(Type.String()), after: Type.Optional(Type.String()) });

function writeEndpoints({ pushRules }: PushRuleEndpointsOptions): readonly Endpoint[] {
  return [
    defineEndpoint({
      method: 'PUT',
      path: RULE,
      auth: 'user',
      query: Placement,
      body: AnyObject,
      spec: `${SPEC}put_matrixclientv3pushrulesglobalkindruleid`,
      async handle({ requester, params, query, body }) {
        const kind = readKind(params.kind);
        const rule = orThrow(parsePushRule(kind, params.ruleId, body));
        await pushRules.change(requester.userId, (rules) => placePushRule(rules, kind, { rule, place: query }));
        return {};
      },
    }),
    defineEndpoint({
      method: 'DELETE',
      path: RULE,
      auth: 'user',
      spec: `${SPEC}delete_matrixclientv3pushrulesglobalkindruleid`,
      async handle({ requester, params }) {
        const kind = readKind(params.kind);
        await pushRules.change(requester.userId, (rules) => removePushRule(rules, kind, params.ruleId));
        return {};
      },
    }),
  ];
}

function propertyEndpoints({ pushRules }: PushRuleEndpointsOptions): readonly Endpoint[] {
  const change = async (userId: UserId, params: Named, changed: Partial<Pick<PushRule, 'enabled' | 'actions'>>) => {
    const kind = readKind(params.kind);
    await pushRules.change(userId, (rules) => changePushRule(rules, kind, { ruleId: params.ruleId, change: changed }));
    return {};
  };
  return [
    defineEndpoint({
      method: 'GET',
      path: ENABLED,
      auth: 'user',
      spec: `${SPEC}get_matrixclientv3pushrulesglobalkindruleidenabled`,
      handle: async ({ requester, params }) => ({
        enabled: (await loadRule(pushRules, requester.userId, params)).enabled,
      }),
    }),
    defineEndpoint({
      method: 'PUT',
      path: ENABLED,
      auth: 'user',
      body: Type.Object({ enabled: Type.Boolean() }),
      spec: `${SPEC}put_matrixclientv3pushrulesglobalkindruleidenabled`,
      handle: ({ requester, params, body }) => change(requester.userId, params, { enabled: body.enabled }),
    }),
    defineEndpoint({
      method: 'GET',
      path: ACTIONS,
      auth: 'user',
      spec: `${SPEC}get_matrixclientv3pushrulesglobalkindruleidactions`,
      handle: async ({ requester, params }) => ({
        actions: (await loadRule(pushRules, requester.userId, params)).actions,
      }),
    }),
    defineEndpoint({
      method: 'PUT',
      path: ACTIONS,
      auth: 'user',
      body: AnyObject,
      spec: `${SPEC}put_matrixclientv3pushrulesglobalkindruleidactions`,
      handle: ({ requester, params, body }) =>
        change(requester.userId, params, { actions: orThrow(parsePushActions(body['actions'])).actions }),
    }),
  ];
}

interface Named {
  readonly kind: string;
  readonly ruleId: string;
}

async function loadRule(pushRules: PushRules, userId: UserId, { kind, ruleId }: Named): Promise<PushRule> {
  const rule = isPushRuleKind(kind) ? findPushRule(await pushRules.load(userId), kind, ruleId) : undefined;
  if (rule === undefined) throw new MatrixError('M_NOT_FOUND', 'The push rule was not found');
  return rule;
}

function readKind(kind: string): PushRuleKind {
  if (!isPushRuleKind(kind)) throw new MatrixError('M_INVALID_PARAM', 'There is no such kind of push rule');
  return kind;
}

function orThrow<T extends object>(parsed: T | PushRuleRefusal): T {
  if (isRefusal(parsed)) throw new MatrixError(parsed.errcode, parsed.error);
  return parsed;
}

function isRefusal(parsed: object): parsed is PushRuleRefusal {
  return 'errcode' in parsed;
}
