/**
 * What of a result a client is sent besides the text, which each gets: decided by what its model is shown of it.
 *
 * Text and structured content each say everything, so that a model needs only one of the two. Sending both costs nothing where a client shows the
 * text; some show the structured content in its place, though, and then a model reads JSON with escaped line ends, and may not see the images.
 */
import type { ImageMode } from './result.js';

/** `auto` goes by the client. */
export const STRUCTURED_MODES = ['auto', 'always', 'never'] as const;
export const IMAGE_MODES = ['inline', 'link', 'none'] as const satisfies readonly ImageMode[];

/** What the owner says on the command line. */
export interface PresentationSettings {
  readonly structured: (typeof STRUCTURED_MODES)[number];
  readonly images: ImageMode;
}

export interface Presentation {
  /** Whether results have structured content, and tools a schema of it: one is never there without the other. */
  readonly structured: boolean;
  readonly images: ImageMode;
}

/**
 * Clients that show their model the structured content and not the text, by the name they give themselves. As of November 2026:
 * - `codex-mcp-client`: nothing but the structured content, images neither
 * - `claude-code`: the structured content for the text, beside the images; of an error only the text
 */
const STRUCTURED_FOR_TEXT: ReadonlySet<string> = new Set(['codex-mcp-client', 'claude-code']);

/** What a client of this name is sent. A version or a title behind the name does not matter. */
export function presentationFor(clientName: string, settings: PresentationSettings): Presentation {
  const name =
    clientName
      .trim()
      .toLowerCase()
      .split(/[\s/@(]/, 1)[0] ?? '';
  const structured = settings.structured === 'auto' ? !STRUCTURED_FOR_TEXT.has(name) : settings.structured === 'always';
  return { structured, images: settings.images };
}
