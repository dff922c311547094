/** The tools there are. */
import { codeExecute } from './code-execute.js';
import { sessionEnd, sessionFork, sessionList, sessionRewind } from './session-tools.js';
import type { Tool } from './tool.js';

const TOOLS: readonly Tool[] = [codeExecute, sessionList, sessionFork, sessionRewind, sessionEnd];

export const TOOL_NAMES: readonly string[] = TOOLS.map(({ name }) => name);

export function toolNamed(name: string): Tool | undefined {
  return TOOLS.find((tool) => tool.name === name);
}
