/**
 * An outcome as an MCP result: text and structured content, each complete by itself, because clients differ in which
 * of the two they show the model. A whole result stays under 1 MB on the wire, where some clients cut (and then the
 * JSON is broken): control characters take six bytes there, so what is measured is the serialized result.
 */
import type { CallToolResult } from '@modelcontextprotocol/sdk/types.js';
import * as z from 'zod';
import { mayBeShown, showImages, type ImageView } from '../images/show.js';
import type { Outcome, OutcomeFile } from '../outcome.js';
import type { Captured } from '../sandbox.js';
import { advice, happened, renderText } from './text.js';

/** Under 1 MB (10^6), with room for the JSON-RPC envelope. */
const RESULT_MAX_BYTES = 1_000_000 - 1_000;

/** A result over the cap keeps this share of each text, until it fits. */
const SHRINK_FACTOR = 0.7;

export const statusShape = z.enum([
  'ok',
  'error',
  'timeout',
  'memory',
  'output',
  'killed',
  'cancelled',
  'denied',
  'unavailable',
] as const satisfies Outcome['status'][]);

const count = z.int().nonnegative();

export const limitsShape = z
  .array(
    z.strictObject({
      counter: z.string(),
      scope: z.string(),
      window: z.string(),
      max: z.number(),
      left: z.number(),
      resetsInMs: z.number(),
    }),
  )
  .describe("What is left of each of the policy's limits.");

export const refusalShape = z
  .strictObject({
    code: z.string(),
    rule: z.string().describe('JSON pointer into the policy.'),
    message: z.string(),
    retryable: z.boolean(),
    retryAfterMs: z.number().nullable(),
  })
  .nullable()
  .describe('Why the call was denied.');

const structuredOutcome = z.strictObject({
  status: statusShape,
  reason: z.string().describe('What happened, and what to do about it.'),
  stdout: z.string(),
  stderr: z.string(),
  stdoutOmittedBytes: count.describe('Bytes left out in the middle of stdout.'),
  stderrOmittedBytes: count.describe('Bytes left out in the middle of stderr.'),
  result: z.string().nullable().describe("repr of the last line's value, as the program tells it."),
  exitCode: z.int().nullable(),
  signal: z.string().nullable(),
  error: z
    .strictObject({ type: z.string(), message: z.string(), line: z.int().nullable() })
    .nullable()
    .describe('The uncaught exception, as the program tells it.'),
  files: z
    .array(z.strictObject({ name: z.string(), bytes: count, mimeType: z.string(), uri: z.string() }))
    .describe('What the program left in its working directory; each can be read as an MCP resource.'),
  filesNotListed: count.describe('How many more came back than are listed here; resources/list has them all.'),
  filesLeftOut: z
    .strictObject({ count, examples: z.array(z.strictObject({ name: z.string(), why: z.string() })) })
    .describe('What did not come back, and for the first of it why.'),
  durationMs: z.number().nullable(),
  cpuMs: z.number().nullable(),
  peakMemoryBytes: z.number().nullable(),
  session: z
    .strictObject({
      id: z.string().describe('The handle for the next call.'),
      step: count.describe('Steps that hold.'),
      undone: z.boolean().describe('Whether this call left no trace in the session.'),
      earliestStep: count.describe('The earliest step that it can be rewound to.'),
    })
    .nullable()
    .describe('Where the session stands that the call was a step of.'),
  limits: limitsShape,
  tier: z.enum(['strict', 'confined', 'none']).nullable().describe('How strongly the program was confined.'),
  runId: z.string(),
  policy: refusalShape,
});

/** The shape of the structured content, as JSON Schema. */
export function outcomeJsonSchema(): Record<string, unknown> {
  return z.toJSONSchema(structuredOutcome);
}

/** How images among the files are shown: in the result itself, as links to the files, or not at all. */
export type ImageMode = 'inline' | 'link' | 'none';

/** What goes into a result besides the text, which always does. */
export interface ResultOptions {
  /** Whether there is structured content: clients differ in what they do with it. */
  readonly structured: boolean;
  readonly images: ImageMode;
  /** The content of one of the outcome's files; null where it is gone. */
  readonly read: (file: OutcomeFile) => Promise<Uint8Array | null>;
  /** The caller's own code, to show the line that failed. */
  readonly code?: string;
}

/** Where images want room, text has to leave this much of it: they are what was asked for. */
const IMAGES_ROOM_BYTES = 400_000;
/** What the text says of all of them at most, on the wire. */
const IMAGES_WORDS_BYTES = 20_000;

/** The result of a call, for the wire. Never rejects. */
export async function toResult(outcome: Outcome, options: ResultOptions): Promise<CallToolResult> {
  const inline = options.images === 'inline' && outcome.files.some(mayBeShown);
  const plain = within(RESULT_MAX_BYTES - (inline ? IMAGES_ROOM_BYTES : 0), outcome, options, []);
  if (!inline) return plain;
  const room = RESULT_MAX_BYTES - wireBytes(plain) - IMAGES_WORDS_BYTES;
  const images = await showImages(outcome.files, options.read, room);
  return within(RESULT_MAX_BYTES, outcome, options, images);
}

/** The result with its texts cut until it has no more than `maxBytes`. */
function within(
  maxBytes: number,
  outcome: Outcome,
  options: ResultOptions,
  images: readonly ImageView[],
): CallToolResult {
  let shown = outcome;
  let result = assemble(shown, options, images);
  let keptCharacters = longest(shown);
  while (wireBytes(result) > maxBytes && keptCharacters > 0) {
    keptCharacters = Math.floor(keptCharacters * SHRINK_FACTOR);
    shown = shrink(outcome, keptCharacters);
    result = assemble(shown, options, images);
  }
  return result;
}

/** Of the files, so many have a link of their own in the result; clients show each as a line or a chip. */
const LINKS_MAX = 20;
/** And so many, and so much of them, are listed in the structured content. */
const FILES_LISTED_MAX = 200;
const FILES_LISTED_MAX_CHARACTERS = 100_000;

function assemble(outcome: Outcome, options: ResultOptions, images: readonly ImageView[]): CallToolResult {
  const code = options.code ?? null;
  const blocks = images.flatMap(({ shown }) =>
    shown === null ? [] : [{ type: 'image' as const, data: shown.base64, mimeType: shown.mimeType }],
  );
  return {
    // Images right behind the text that numbers them.
    content: [{ type: 'text', text: renderText(outcome, { code, images }) }, ...blocks, ...links(outcome, options)],
    ...(options.structured ? { structuredContent: structured(outcome, code) } : {}),
    isError: outcome.status !== 'ok',
  };
}

function links({ files }: Outcome, { images }: ResultOptions): CallToolResult['content'] {
  return files
    .filter((file) => images !== 'none' || !mayBeShown(file))
    .slice(0, LINKS_MAX)
    .map(({ name, uri, mimeType, bytes }) => ({ type: 'resource_link', name, uri, mimeType, size: bytes }));
}

/** The first of the files, as many as leave room for the rest of a result. */
function listed(files: Outcome['files']): OutcomeFile[] {
  let characters = 0;
  return files.slice(0, FILES_LISTED_MAX).filter((file) => {
    characters += JSON.stringify(file).length;
    return characters <= FILES_LISTED_MAX_CHARACTERS;
  });
}

function structured(outcome: Outcome, code: string | null): z.infer<typeof structuredOutcome> {
  const { usage, stdout, stderr, policy } = outcome;
  const todo = advice(outcome);
  const files = listed(outcome.files);
  return {
    status: outcome.status,
    reason: todo === null ? happened(outcome, code) : `${happened(outcome, code)}. ${todo}`,
    stdout: stdout.text,
    stderr: stderr.text,
    stdoutOmittedBytes: stdout.omittedBytes,
    stderrOmittedBytes: stderr.omittedBytes,
    result: outcome.result,
    exitCode: outcome.exitCode,
    signal: outcome.signal,
    error: outcome.error,
    files,
    filesNotListed: outcome.files.length - files.length,
    filesLeftOut: { ...outcome.filesLeftOut, examples: [...outcome.filesLeftOut.examples] },
    durationMs: usage?.durationMs ?? null,
    cpuMs: usage?.cpuMs ?? null,
    peakMemoryBytes: usage?.peakMemoryBytes ?? null,
    session: outcome.session,
    limits: [...outcome.limits],
    tier: outcome.tier,
    runId: outcome.runId,
    policy,
  };
}

function wireBytes(result: CallToolResult): number {
  return Buffer.byteLength(JSON.stringify(result));
}

function longest({ stdout, stderr, result, error }: Outcome): number {
  return Math.max(stdout.text.length, stderr.text.length, result?.length ?? 0, error?.message.length ?? 0);
}

function shrink(outcome: Outcome, kept: number): Outcome {
  const { result, error } = outcome;
  return {
    ...outcome,
    stdout: shrinkStream(outcome.stdout, kept),
    stderr: shrinkStream(outcome.stderr, kept),
    result: result === null ? null : cut(result, kept),
    error: error === null ? null : { ...error, type: cut(error.type, kept), message: cut(error.message, kept) },
  };
}

function shrinkStream(stream: Captured, kept: number): Captured {
  if (stream.text.length <= kept) return stream;
  const [head, tail] = ends(stream.text, kept);
  const omittedBytes = Math.max(stream.omittedBytes, stream.totalBytes - bytesOf(head) - bytesOf(tail));
  return { ...stream, text: `${head}\n[... ${omittedBytes} bytes left out ...]\n${tail}`, omittedBytes };
}

/** As the program wrote it: what became U+FFFD was one byte (a NUL, a byte that is no UTF-8). */
function bytesOf(text: string): number {
  return Buffer.byteLength(text) - 2 * (text.length - text.replaceAll('\uFFFD', '').length);
}

function cut(text: string, kept: number): string {
  return text.length <= kept ? text : ends(text, kept).join(' [... left out ...] ');
}

/** Beginning and end of a text, half of `kept` each, without tearing a surrogate pair apart. */
function ends(text: string, kept: number): [string, string] {
  const half = Math.floor(kept / 2);
  const head = text.slice(0, half).replace(/[\uD800-\uDBFF]$/, '');
  const tail = text.slice(text.length - half).replace(/^[\uDC00-\uDFFF]/, '');
  return [head, tail];
}
