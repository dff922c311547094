/**
 * The files that programs left, as MCP resources: listed, and read in parts that stay below the size at which clients cut a result.
 */
import type { Server } from '@modelcontextprotocol/sdk/server/index.js';
import {
  ErrorCode,
  ListResourcesRequestSchema,
  ListResourceTemplatesRequestSchema,
  McpError,
  ReadResourceRequestSchema,
  type ReadResourceResult,
  type Resource,
} from '@modelcontextprotocol/sdk/types.js';
import { isTextType } from '../files/mime.js';
import { NoSuchFile, type Excerpt, type FileStore, type StoredFile } from '../files/store.js';
import { FILE_URI_TEMPLATE } from '../files/uri.js';

const PAGE_FILES = 100;
/** The most of a file that comes in one answer: in base64 it is a third longer, and a whole answer stays under 1 MB (10^6). */
const READ_MAX_BYTES = 700_000;
/** Of text as JSON has it, where a control character takes six bytes. */
const TEXT_MAX_WIRE_BYTES = 950_000;
/** "Resource not found" (MCP 2025-11-25, server/resources, error handling). */
const RESOURCE_NOT_FOUND = -32_002;

/** Answer for the files of one grant, for as long as the connection lasts. Its server must have said `resources` in its capabilities. */
export function serveResources(server: Server, files: FileStore, grant: string): void {
  server.setRequestHandler(ListResourcesRequestSchema, ({ params }) => {
    const cursor = params?.cursor;
    if (cursor !== undefined && !/^\d{1,15}\.\d{1,15}$/.test(cursor)) {
      throw new McpError(ErrorCode.InvalidParams, 'cursor: expected the nextCursor of an earlier answer');
    }
    const found = files.list(grant, cursor);
    const page = found.slice(0, PAGE_FILES);
    const last = found.length > page.length ? page.at(-1)?.position : undefined;
    return { resources: page.map(toResource), ...(last === undefined ? {} : { nextCursor: last }) };
  });

  server.setRequestHandler(ListResourceTemplatesRequestSchema, () => ({
    resourceTemplates: [
      {
        uriTemplate: FILE_URI_TEMPLATE,
        name: 'file',
        title: 'A file that a program left',
        description:
          'What a run of code_execute left in its working directory. The result of the call has the address. ' +
          '?from=BYTES&bytes=NUMBER reads a part; one answer has at most 700,000 bytes.',
      },
    ],
  }));

  server.setRequestHandler(ReadResourceRequestSchema, async ({ params: { uri } }) => {
    try {
      return readResult(uri, await files.read(uri, grant, READ_MAX_BYTES));
    } catch (error) {
      if (error instanceof NoSuchFile) throw new McpError(RESOURCE_NOT_FOUND, error.message, { uri });
      throw error;
    }
  });

  const stop = files.onChange((changed) => {
    if (changed === grant)
      server.sendResourceListChanged().catch(() => {
        stop();
      }); // the client is gone
  });
}

function toResource({ uri, name, mimeType, bytes }: StoredFile): Resource {
  return { uri, name, mimeType, size: bytes };
}

/** A part of a file as the answer to a read: text as text where it is that, anything else in base64. */
function readResult(uri: string, { file, from, content }: Excerpt): ReadResourceResult {
  const text = isTextType(file.mimeType) ? asText(content, from + content.length === file.bytes) : null;
  const bytes = text === null ? content.length : Buffer.byteLength(text);
  const next = from + bytes;
  const range = { from, bytes, totalBytes: file.bytes, next: next < file.bytes ? next : null };
  const held = { uri, mimeType: file.mimeType, _meta: { 'cordon/range': range } };
  const contents: ReadResourceResult['contents'] = [
    text === null ? { ...held, blob: content.toString('base64') } : { ...held, text },
  ];
  // Who asked for so many bytes knows that there are more. Whoever did not must not take a part for the whole.
  const asked = /[?&]bytes=(\d+)/.exec(uri)?.[1];
  if (range.next !== null && (asked === undefined || Number(asked) > bytes)) {
    const rest = `${file.uri}?from=${range.next}`;
    const words = `[bytes ${from} to ${next} of ${file.bytes}; the rest: ${rest}]`;
    contents.push({ uri: rest, mimeType: 'text/plain', text: words });
  }
  return { contents, _meta: { 'cordon/range': range } };
}

/**
 * As text, as far as it fits an answer; null where it is no UTF-8.
 * @param isEnd whether the file ends with it; else a character that was cut in two at the end is left for the next part
 */
function asText(content: Buffer, isEnd: boolean): string | null {
  let part = content;
  for (;;) {
    const text = decode(part, isEnd && part === content);
    if (text === null || Buffer.byteLength(JSON.stringify(text)) <= TEXT_MAX_WIRE_BYTES) return text;
    part = part.subarray(0, Math.floor(part.length / 2));
  }
}

function decode(bytes: Buffer, isWhole: boolean): string | null {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes, { stream: !isWhole });
  } catch {
    return null;
  }
}
