/** The outcome for a program that reads it: one line on stdout, of the shape that MCP clients get as structured content. */
import type { Saved } from '../../files/save.js';
import { toResult } from '../../mcp/result.js';
import type { Outcome } from '../../outcome.js';

/** @param saved where the files are now; null where nobody asked for them */
export async function printJson(outcome: Outcome, saved: readonly Saved[] | null): Promise<void> {
  const places = saved?.map(({ file, path, problem }) => ({ name: file.name, path, problem }));
  const options = { structured: true, images: 'none', read: () => Promise.resolve(null) } as const;
  const { structuredContent } = await toResult(outcome, options);
  const line = JSON.stringify({ ...structuredContent, ...(places && { saved: places }) });
  await new Promise((resolve) => process.stdout.write(`${line}\n`, resolve));
}
