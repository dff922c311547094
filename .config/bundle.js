// dist/bin: the command, in a few files instead of some hundreds. Loading the MCP SDK and zod file by file is most of what a
// start costs; a client that starts the server waits for it.
import { build } from 'esbuild';

await build({
  entryPoints: { main: 'dist/src/main.js', 'image-decoder': 'dist/src/images/decoder.js' },
  outdir: 'dist/bin',
  bundle: true,
  splitting: true, // what is imported later stays a file of its own
  platform: 'node',
  format: 'esm',
  target: 'node20.19',
  // libsql has a native part, photon one of WebAssembly; the others are loaded later, as CommonJS, whose names a bundle would hide behind `default`.
  external: ['libsql', '@cf-wasm/photon', 'rate-limiter-flexible', '@redis/client', 'pidusage', 'yaml'],
  minifyWhitespace: true,
  // Bundled CommonJS packages call require for Node's own modules, which an ES module has not.
  banner: {
    js: "import{createRequire as requireOfBundle}from'node:module';const require=requireOfBundle(import.meta.url);",
  },
});
