/**
 * The MCP adapter: `tools/list` and `tools/call` on one side, `call` on the other.
 *
 * The SDK's `McpServer` is not used: its `registerTool` answers unknown tools and bad arguments itself, and here those are
 * calls like any other, which the policy answers and the audit log hears of.
 */
import { randomUUID } from 'node:crypto';
import { Server as SdkServer } from '@modelcontextprotocol/sdk/server/index.js';
import { ListToolsRequestSchema, type CallToolResult, type Tool } from '@modelcontextprotocol/sdk/types.js';
import type { jsonSchemaValidator } from '@modelcontextprotocol/sdk/validation/types.js';
import * as z from 'zod';
import { call, type Rooms } from '../call.js';
import { compileAtFirstCall } from '../heap.js';
import type { LoadedPolicy } from '../policy/load.js';
import type { Guarantees } from '../sandbox.js';
import { clientForm } from './form.js';
import { presentationFor, type PresentationSettings } from './presentation.js';
import { NO_PROGRESS, reportProgress } from './progress.js';
import { serveResources } from './resources.js';
import { toResult } from './result.js';
import { isSessionTool, toSessionResult } from './session-tools.js';
import { describeTools } from './tool.js';

const instructions = (sessions: boolean): string =>
  `code_execute runs a Python program in a sandbox made for that one call: no network, nothing kept between calls${sessions ? ' but in a session' : ''}. ` +
  'Files go in with the call; those that a program leaves in its working directory come back as resources. ' +
  "The policy of this server's owner decides about every call; a denial says why, and when to try again.";

/** What a form's answer says is judged in form.ts, whatever its shape: the SDK need not load a validator of JSON Schema for it. */
const UNCHECKED: jsonSchemaValidator = {
  getValidator: () => (input) => ({ valid: true, data: input as never, errorMessage: undefined }),
};

/** The arguments as they came: the SDK's schema would drop a key named `__proto__` without a word. */
const asTheyCame = z.custom<Readonly<Record<string, unknown>>>(
  (value) => typeof value === 'object' && value !== null && !Array.isArray(value),
  'expected an object',
);
const ToolCallSchema = z.object({
  method: z.literal('tools/call'),
  params: z.looseObject({ name: z.string(), arguments: asTheyCame.optional() }),
});

/** By then the processes that make sandboxes are on their way. */
const PRIME_AFTER_MS = 10;

export interface Server {
  readonly mcp: SdkServer;
  /** Resolves when no call is under way any more. Never rejects. */
  idle(): Promise<void>;
}

/** A server for one client. `grant` is the identity that all its calls are made under, `settings` what the owner said of its results. */
export function createServer(
  rooms: Rooms,
  grant: { readonly name: string },
  version: string,
  settings: PresentationSettings,
): Server {
  const server = new SdkServer(
    { name: 'cordon', title: 'Cordon', version },
    {
      capabilities: { tools: { listChanged: true }, resources: { listChanged: true } },
      instructions: instructions(rooms.backend().guarantees.sessions),
      jsonSchemaValidator: UNCHECKED,
    },
  );
  serveResources(server, rooms.files, grant.name);
  const session = randomUUID();
  const underWay = new Set<Promise<CallToolResult>>();

  let priming: NodeJS.Timeout | undefined;
  // Some clients start a server just to look at it: nothing is made ready before one says that it means to stay.
  server.oninitialized = () => {
    compileAtFirstCall();
    rooms.backend().warm();
    // While that is under way.
    priming = setTimeout(() => void rooms.audit.prime(), PRIME_AFTER_MS);
    // Clients that are built with the SDK overlook that request 0 was cancelled, and would leave the first form standing.
    if (server.getClientCapabilities()?.elicitation !== undefined) server.ping().catch(() => undefined);
  };

  const client = () => server.getClientVersion() ?? { name: 'unknown', version: 'unknown' };
  const presentation = () => presentationFor(client().name, settings);

  /** The list as this client has it, and what it was made from; null: it never asked. */
  let listed: { readonly hash: string; readonly guarantees: Guarantees; readonly tools: string } | null = null;

  const listTools = ({ policy, hash }: LoadedPolicy): Tool[] => {
    const { guarantees } = rooms.backend();
    const described = describeTools(policy, guarantees);
    const tools = presentation().structured
      ? described
      : // Who declares the schema has to send the content.
        described.map((tool): Tool => ({ ...tool, outputSchema: undefined }));
    listed = { hash, guarantees, tools: JSON.stringify(tools) };
    return tools;
  };

  server.setRequestHandler(ListToolsRequestSchema, async () => ({ tools: listTools(await rooms.policy()) }));

  /** Edits of the policy are noticed when somebody calls: tell the client then, if what it was told is no longer so. */
  const tellOfChange = async (): Promise<void> => {
    if (listed === null) return;
    const known = listed;
    const loaded = await rooms.policy();
    if (loaded.hash === known.hash && rooms.backend().guarantees === known.guarantees) return;
    listTools(loaded);
    if (listed.tools !== known.tools) await server.sendToolListChanged().catch(() => undefined);
  };

  server.setRequestHandler(ToolCallSchema, async ({ params }, extra) => {
    const progressToken = extra._meta?.progressToken;
    const progress =
      progressToken === undefined
        ? NO_PROGRESS
        : reportProgress((progress, message) => {
            const params = { progressToken, progress, message };
            // A client that is gone is not our concern here.
            extra.sendNotification({ method: 'notifications/progress', params }).catch(() => undefined);
          });
    const running = call(rooms, {
      tool: params.name,
      args: params.arguments ?? {},
      grant,
      client: client(),
      session,
      form: clientForm(server, extra.requestId),
      signal: extra.signal,
      onProgress: progress.stage,
      onOutput: progress.output,
    }).then((outcome) => {
      if (isSessionTool(params.name)) return toSessionResult(outcome, presentation().structured);
      const { code } = params.arguments ?? {};
      return toResult(outcome, {
        ...presentation(),
        read: async ({ uri }) => (await rooms.files.read(uri, grant.name)).content,
        ...(typeof code === 'string' ? { code } : {}),
      });
    });
    underWay.add(running);
    try {
      // While the program runs, and before its answer.
      await new Promise((next) => setImmediate(next));
      await tellOfChange();
      return await running;
    } finally {
      underWay.delete(running);
      progress.end();
    }
  });

  return {
    mcp: server,
    async idle() {
      clearTimeout(priming); // the audit log may be closed next
      await Promise.allSettled(underWay);
    },
  };
}
