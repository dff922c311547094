// dist/bin: the command, in a few files instead of some hundreds. Loading the MCP SDK and zod file by file is most of what a
// start costs; a client that starts the server waits for it.
import { build } from 'esbuild';

/**
 * What the SDK imports and this server has no use for, and loads all the same: a validator of JSON Schema (server.ts gives it another), and what
 * serves schemas of zod 3. Whoever reaches for one of them all the same gets an error.
 */
const unused = new Map([
  ['ajv-provider', 'export class AjvJsonSchemaValidator { constructor() { throw new Error("ajv is not bundled"); } }'],
  ['zod/v3', 'export const object = () => { throw new Error("zod 3 is not bundled"); };'],
  [
    'zod-to-json-schema',
    'export const zodToJsonSchema = () => { throw new Error("zod-to-json-schema is not bundled"); };',
  ],
]);
const leaveOut = {
  name: 'leave-out',
  setup({ onResolve, onLoad }) {
    const names = /(?:^|\/)(ajv-provider|zod\/v3|zod-to-json-schema)(?:\.js)?$/;
    onResolve({ filter: names }, ({ path }) => ({ path: names.exec(path)[1], namespace: 'unused' }));
    onLoad({ filter: /.*/, namespace: 'unused' }, ({ path }) => ({ contents: unused.get(path) }));
  },
};

await build({
  entryPoints: { main: 'dist/src/main.js', 'image-decoder': 'dist/src/images/decoder.js' },
  outdir: 'dist/bin',
  bundle: true,
  splitting: true, // what is imported later stays a file of its own
  platform: 'node',
  format: 'esm',
  target: 'node20.19',
  // libsql has a native part, photon one of WebAssembly; the others are loaded later, as CommonJS, whose names a bundle would hide behind `default`.
  external: ['libsql', '@cf-wasm/photon', 're2js', 'rate-limiter-flexible', '@redis/client', 'pidusage', 'yaml'],
  plugins: [leaveOut],
  minifyWhitespace: true,
  // Bundled CommonJS packages call require for Node's own modules, which an ES module has not.
  banner: {
    js: "import{createRequire as requireOfBundle}from'node:module';const require=requireOfBundle(import.meta.url);",
  },
});
