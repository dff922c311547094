/**
 * `npm run demo`: the built server, a real MCP client, a real program in a real sandbox, and the policy that stops it.
 * Needs nothing but this checkout, Node and python3.
 */
import { connect, EXAMPLE_POLICY, execute, whyNoSandbox, type Answer } from './server.js';

const TEXT = `It was the best of times, it was the worst of times, it was the age of wisdom, it was the age of foolishness,
it was the epoch of belief, it was the epoch of incredulity, it was the season of Light, it was the season of Darkness,
it was the spring of hope, it was the winter of despair.`;

const PROGRAM = `import collections, re, sys

words = re.findall(r"[a-z]+", sys.stdin.read().lower())
for word, count in collections.Counter(words).most_common(6):
    print(f"{word:10} {count:3}  {'#' * count}")
len(words)`;

/** The policy's window is a minute on the clock: a demo that crosses its end gets ten calls more. */
const CALLS_MAX = 25;

function heading(text: string): void {
  process.stdout.write(`\n\u2500\u2500 ${text} ${'\u2500'.repeat(Math.max(3, 90 - text.length))}\n`);
}

function show(text: string): void {
  process.stdout.write(`${text.replace(/^/gm, '  ')}\n`);
}

async function main(): Promise<number> {
  const missing = whyNoSandbox();
  if (missing !== false) {
    process.stderr.write(`The demo needs a sandbox, and there is ${missing}\n`);
    return 1;
  }
  heading('The policy: ten calls of code_execute a minute, and no other tool');
  show(JSON.stringify(EXAMPLE_POLICY, null, 2));

  const session = await connect(EXAMPLE_POLICY, 'cordon-demo');
  try {
    heading('A client starts the server; this is what the server says of itself, on stderr');
    show(session.stderr().trimEnd());

    heading('The client calls code_execute with this program, and a text as its stdin');
    show(PROGRAM);
    const first = await execute(session.client, { code: PROGRAM, stdin: TEXT });
    heading('What comes back');
    show(first.text);

    heading('A program that reaches for what is not there');
    const reach = 'import socket\nsocket.create_connection(("example.org", 80), timeout=2)';
    show(`${reach}\n\u2192 ${firstLine(await execute(session.client, { code: reach }))}`);
    const read = `print(open(${JSON.stringify(`${session.place.directory}/policy.json`)}).read())`;
    show(`${read}\n\u2192 ${firstLine(await execute(session.client, { code: read }))}`);

    heading('The client calls on, until the policy stops it');
    let denial: Answer | null = null;
    for (let call = 4; call <= CALLS_MAX && denial === null; call += 1) {
      const answer = await execute(session.client, { code: `print("call number ${call}")` });
      if (answer.structured.status === 'denied') denial = answer;
      else show(firstLine(answer));
    }
    if (denial === null) throw new Error(`the policy let ${CALLS_MAX} calls through`);
    heading('The denial: nothing was run');
    show(denial.text);
    heading('The same, as structured content');
    show(JSON.stringify(denial.structured.policy, null, 2));

    heading('The audit log has a line for each call; this is the last');
    show(JSON.stringify(session.place.audit().at(-1), null, 2));
  } finally {
    await session.close();
  }
  return 0;
}

function firstLine({ text }: Answer): string {
  return text.split('\n', 1)[0] ?? '';
}

process.exitCode = await main();
