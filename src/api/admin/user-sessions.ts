/**
 * How users get in, and are thrown out: access tokens, passwords, devices.
 */
import { Type } from 'typebox';
import type { AdminUsers } from '../../accounts/admin-users.ts';
import { answer } from '../../http/answer.ts';
import { optional } from '../../http/schema.ts';
import { type AdminEndpoint, defineAdminEndpoint, Empty } from './admin-endpoint.ts';
import { MAX_PASSWORD_LENGTH } from './users.ts';

const NewToken = Type.Object({ access_token: Type.String(), device_id: Type.String() });
const MAX_DEVICE_NAME_LENGTH = 100;
const NewPassword = Type.Object({
  password: Type.Optional(Type.String({ description: 'Where the request had none' })),
  devices: Type.Integer(),
});

export function adminUserSessionEndpoints(users: AdminUsers): readonly AdminEndpoint[] {
  return [
    defineAdminEndpoint({
      method: 'POST',
      path: '/_hammerhead/v0/admin/users/{user_id}/access-token',
      auth: 'admin',
      body: Type.Object({ display_name: optional(Type.String({ maxLength: MAX_DEVICE_NAME_LENGTH })) }),
      emptyBody: true,
      doc: { summary: 'Create Access Token', answers: { 201: NewToken } },
      async handle({ params, body }) {
        const session = await users.openSession(params.user_id, body.display_name ?? 'Made by an administrator');
        return answer(201, { access_token: session.accessToken, device_id: session.deviceId });
      },
    }),
    defineAdminEndpoint({
      method: 'POST',
      path: '/_hammerhead/v0/admin/users/{user_id}/reset-password',
      auth: 'admin',
      body: Type.Object({
        password: optional(Type.String({ minLength: 1, maxLength: MAX_PASSWORD_LENGTH })),
        logout_devices: optional(Type.Boolean()),
      }),
      emptyBody: true,
      doc: { summary: 'Reset Password', answers: { 200: NewPassword } },
      async handle({ params, body }) {
        const given = body.password ?? undefined;
        const logsOut = body.logout_devices !== false;
        const { password, devices } = await users.resetPassword(params.user_id, { password: given, logsOut });
        return { ...(given === undefined && { password }), devices };
      },
    }),
    defineAdminEndpoint({
      method: 'POST',
      path: '/_hammerhead/v0/admin/users/{user_id}/reset-sessions',
      auth: 'admin',
      doc: { summary: 'Reset Sessions', answers: { 200: Type.Object({ devices: Type.Integer() }) } },
      handle: async ({ params }) => ({ devices: await users.resetSessions(params.user_id) }),
    }),
    defineAdminEndpoint({
      method: 'DELETE',
      path: '/_hammerhead/v0/admin/users/{user_id}/devices/{device_id}',
      auth: 'admin',
      doc: { summary: 'Delete Device', answers: { 200: Empty } },
      async handle({ params }) {
        await users.deleteDevice(params.user_id, params.device_id);
        return {};
      },
    }),
  ];
}
