/**
 * MCP over stdin and stdout, until it ends: the client closes stdin or stdout, or a signal says stop.
 *
 * The SDK's transport does not notice the end of stdin, and lets a closed stdout throw.
 */
import { StdioServerTransport } from '@modelcontextprotocol/sdk/server/stdio.js';
import { onStopSignal } from '../signals.js';
import { safeLine } from '../terminal.js';
import type { Server } from './server.js';
import { wholeLines } from './whole-lines.js';

/** How serving ended, and with which exit status. */
export interface Stop {
  readonly reason: string;
  readonly status: number;
}

/**
 * Serve until there is no one left to serve. On return nothing listens any more and every call under way was told to
 * stop; closing the backend is the caller's.
 * @param messageMaxBytes the longest line taken from a client; one that is longer ends the connection
 */
export async function serveStdio({ mcp }: Server, messageMaxBytes: number): Promise<Stop> {
  const { stdin, stdout } = process;
  // Each answer that has to wait for a slow client listens for its turn.
  stdout.setMaxListeners(0);
  const lines = wholeLines(messageMaxBytes);
  // What comes in one piece may be the end of one message and several whole ones more.
  const transport = new StdioServerTransport(stdin.pipe(lines), stdout, { maxBufferSize: 2 * messageMaxBytes });

  const stopped = new Promise<Stop>((resolve) => {
    stdin.once('end', () => {
      resolve({ reason: 'the client closed stdin', status: 0 });
    });
    stdin.once('error', (error) => {
      resolve({ reason: `stdin failed: ${error.message}`, status: 1 });
    });
    lines.once('error', (error) => {
      resolve({ reason: error.message, status: 1 });
    });
    // Every write after the first that fails says so again: keep listening, or one of them is an uncaught exception.
    stdout.on('error', (error: NodeJS.ErrnoException) => {
      const gone = error.code === 'EPIPE';
      resolve(gone ? { reason: 'the client closed stdout', status: 0 } : { reason: error.message, status: 1 });
    });
    onStopSignal((signal, status) => {
      resolve({ reason: signal, status });
    });
    mcp.onerror = (error) => {
      // It may quote what the client sent.
      process.stderr.write(`cordon: ${safeLine(error.message.slice(0, 500))}\n`);
    };
    mcp.onclose = () => {
      resolve({ reason: 'the connection was given up', status: 1 });
    };
  });

  await mcp.connect(transport);
  const stop = await stopped;
  await mcp.close();
  return stop;
}
