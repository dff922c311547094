/** The session tools as clients see them: what they are, and what comes back. */
import type { CallToolResult, Tool } from '@modelcontextprotocol/sdk/types.js';
import * as z from 'zod';
import type { Outcome } from '../outcome.js';
import { sessionEnd, sessionFork, sessionList, sessionRewind, type SessionTool } from '../tools/session-tools.js';
import { limitsShape, refusalShape, statusShape } from './result.js';
import { happened, renderDenial, usageLine } from './text.js';

const count = z.number().nonnegative();

const structuredAnswer = z.strictObject({
  status: statusShape,
  reason: z.string().describe('What was done, or why not.'),
  sessions: z.array(
    z.strictObject({
      id: z.string().describe('The handle.'),
      step: count.describe('Steps that hold.'),
      earliestStep: count.describe('The earliest step that it can be rewound to.'),
      forkedFrom: z.string().nullable(),
      busy: z.boolean().describe('Whether a call is under way in it.'),
      ageSeconds: count,
      idleSeconds: count,
      endsInSeconds: count.describe('Until it ends, should nobody use it.'),
      memoryBytes: count.describe('Memory of all states that are kept, forks together.'),
    }),
  ),
  limits: limitsShape,
  runId: z.string(),
  policy: refusalShape,
});

const OUTPUT_SCHEMA: Record<string, unknown> = z.toJSONSchema(structuredAnswer);

interface Shown {
  readonly tool: SessionTool;
  readonly title: string;
  readonly description: string;
  readonly readOnly: boolean;
  readonly destructive: boolean;
}

const SHOWN: readonly Shown[] = [
  {
    tool: sessionList,
    title: 'List sessions',
    description: 'Your open sessions of code_execute: handle, step, how far each can be rewound, when it ends.',
    readOnly: true,
    destructive: false,
  },
  {
    tool: sessionFork,
    title: 'Fork a session',
    description:
      'A second session at the same state (variables, files), under a handle of its own: to try two ways from one state.',
    readOnly: false,
    destructive: false,
  },
  {
    tool: sessionRewind,
    title: 'Rewind a session',
    description:
      'Put a session back to what it was after an earlier step, variables and files alike; the steps after it are lost. ' +
      'Give either "steps" or "to_step".',
    readOnly: false,
    destructive: true,
  },
  {
    tool: sessionEnd,
    title: 'End a session',
    description: 'End a session that is not needed any more: its state is lost, its memory free.',
    readOnly: false,
    destructive: true,
  },
];

/** As `tools/list` shows them. */
export function describeSessionTools(): Tool[] {
  return SHOWN.map(({ tool, title, description, readOnly, destructive }) => ({
    name: tool.name,
    title,
    description,
    inputSchema: { ...tool.argumentsJsonSchema, type: 'object' },
    outputSchema: { ...OUTPUT_SCHEMA, type: 'object' },
    annotations: {
      title,
      readOnlyHint: readOnly,
      destructiveHint: destructive,
      idempotentHint: readOnly,
      openWorldHint: false,
    },
  }));
}

export function isSessionTool(name: string): boolean {
  return SHOWN.some(({ tool }) => tool.name === name);
}

/** The result of a session tool, for the wire. @param structured whether there is structured content */
export function toSessionResult(outcome: Outcome, structured: boolean): CallToolResult {
  const { status, sessions, limits, runId, policy } = outcome;
  const structuredContent: z.infer<typeof structuredAnswer> = {
    status,
    reason: happened(outcome),
    sessions: [...sessions],
    limits: [...limits],
    runId,
    policy,
  };
  return {
    content: [{ type: 'text', text: renderAnswer(outcome) }],
    ...(structured ? { structuredContent } : {}),
    isError: status !== 'ok',
  };
}

function renderAnswer(outcome: Outcome): string {
  if (outcome.policy !== null) return renderDenial(outcome.policy, outcome);
  const { status, sessions } = outcome;
  const head = status === 'ok' ? happened(outcome) : `${status}: ${happened(outcome)}`;
  return [head, ...sessions.map(sessionWords), `[${usageLine(outcome)}]`].join('\n');
}

function sessionWords({
  id,
  step,
  earliestStep,
  forkedFrom,
  busy,
  endsInSeconds,
  memoryBytes,
}: Outcome['sessions'][number]): string {
  const parts = [
    `step ${step}`,
    earliestStep === step ? 'no earlier step to go back to' : `can go back to step ${earliestStep}`,
    ...(forkedFrom === null ? [] : [`forked from ${forkedFrom}`]),
    busy ? 'a call is running in it' : `ends in ${endsInSeconds} s if not used`,
    `${Math.ceil(memoryBytes / 2 ** 20)} MB`,
  ];
  return `${id}: ${parts.join(', ')}`;
}
