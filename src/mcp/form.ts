/** Asking the client's user with a form (MCP elicitation), for clients that say they can show one. */
import type { Server } from '@modelcontextprotocol/sdk/server/index.js';
import type { RequestId } from '@modelcontextprotocol/sdk/types.js';
import type { Form } from '../approval/approvals.js';
import { describeRequest, quote } from '../approval/words.js';

/** Longer than any question waits: its end is told by the signal, and the SDK's own limit must not come first. */
const TIMEOUT_MS = 2 ** 31 - 1;

/**
 * The form of the client that is connected; null where it shows none.
 * @param relatedRequestId the call that is asked about, so that a client knows which it is
 */
export function clientForm(server: Server, relatedRequestId: RequestId): Form | null {
  if (server.getClientCapabilities()?.elicitation?.form === undefined) return null;
  return {
    via: 'form',
    by: `the user of ${quote(server.getClientVersion()?.name ?? 'unknown')}`,
    async show(request, signal) {
      const { action, content } = await server.elicitInput(
        {
          message: describeRequest(request, true),
          requestedSchema: {
            type: 'object',
            // Not merely "accept": a client that accepts by itself, or fills in what is preset, says no.
            properties: { allow: { type: 'boolean', title: 'Let this program run', default: false } },
            required: ['allow'],
          },
        },
        { signal, timeout: TIMEOUT_MS, relatedRequestId },
      );
      if (action === 'accept') {
        const allow = content?.allow;
        if (typeof allow !== 'boolean') return { kind: 'none', why: 'the form came back without an answer' };
        return allow ? { kind: 'yes' } : { kind: 'no', reason: 'the form was sent without a yes' };
      }
      return { kind: 'no', reason: action === 'decline' ? 'declined' : 'the form was dismissed' };
    },
  };
}
