// The directions of the house, checked: who may import whom, and the one home of each third-party package.
const home = (name, pkg, where) => ({
  name: `${name}-has-one-home`,
  severity: 'error',
  from: { path: '^src/', pathNot: where },
  to: { path: `node_modules/${pkg}(/|$)` },
});

module.exports = {
  forbidden: [
    { name: 'no-cycles', severity: 'error', from: {}, to: { circular: true } },
    {
      name: 'policy-is-pure',
      comment: 'policy/ knows only zod, the regex engine and what a hash is, and nothing of the rest of the house',
      severity: 'error',
      from: { path: '^src/policy/' },
      to: { path: '^src/', pathNot: '^src/(policy/|sha256\\.ts)' },
    },
    {
      name: 'backends-know-jobs-not-policies',
      severity: 'error',
      from: { path: '^src/(backends|frames)' },
      to: { path: '^src/(policy|admission|approval|mcp|commands|audit|call)' },
    },
    {
      name: 'sessions-know-sandboxes-and-turns',
      comment: 'sessions/ knows jobs, session sandboxes and whose turn it is; nothing of tools, policies and MCP',
      severity: 'error',
      from: { path: '^src/sessions/' },
      to: { path: '^src/', pathNot: '^src/(sessions/|sandbox\\.ts|sha256\\.ts|admission/slots\\.ts)' },
    },
    {
      name: 'tools-are-called-by-the-straight-line',
      comment: 'a tool does what it is there for, once call.ts has asked everybody',
      severity: 'error',
      from: { path: '^src/tools/' },
      to: { path: '^src/(call|startup|backends|mcp|commands)' },
    },
    {
      name: 'nothing-imports-commands',
      severity: 'error',
      from: { path: '^src/', pathNot: '^src/(main|cli|commands/)' },
      to: { path: '^src/(commands|cli|main)' },
    },
    {
      name: 'only-commands-know-mcp',
      severity: 'error',
      from: { path: '^src/', pathNot: '^src/(commands|mcp)/' },
      to: { path: '^src/mcp/' },
    },
    home('mcp-sdk', '@modelcontextprotocol', '^src/mcp/'),
    home('execa', 'execa', '^src/backends/'),
    home('pidusage', 'pidusage', '^src/backends/'),
    home('tmp-promise', 'tmp-promise', '^src/files/'),
    home('libsql', '(libsql|@libsql)', '^src/state/'),
    home('redis', '@redis', '^src/state/'),
    home('rate-limiter-flexible', 'rate-limiter-flexible', '^src/admission/'),
    home('re2js', 're2js', '^src/policy/'),
    home('lezer', '@lezer', '^src/policy/'),
    home('photon', '@cf-wasm', '^src/images/'),
    home('yaml', 'yaml', '^src/policy/dialects/'),
  ],
  options: {
    doNotFollow: { path: 'node_modules' },
    tsConfig: { fileName: 'tsconfig.json' },
    tsPreCompilationDeps: true,
    enhancedResolveOptions: { exportsFields: ['exports'], conditionNames: ['import', 'node', 'default', 'types'] },
  },
};
