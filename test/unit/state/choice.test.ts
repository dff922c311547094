import assert from 'node:assert/strict';
import { it } from 'node:test';
import { chooseState, StateChoiceError } from '../../../src/state/choice.js';

const env = { HOME: '/home/ada', XDG_STATE_HOME: '/var/state' };

it('the state is in a file of the user where nothing is said', () => {
  assert.deepEqual(chooseState(undefined, env), { kind: 'file', path: '/var/state/cordon/state.db' });
  const path = '/home/ada/.local/state/cordon/state.db';
  assert.deepEqual(chooseState(undefined, { HOME: '/home/ada' }), { kind: 'file', path });
  assert.deepEqual(chooseState(undefined, { HOME: '/home/ada', XDG_STATE_HOME: 'relative' }), { kind: 'file', path });
});

it('the flag goes before the environment', () => {
  assert.deepEqual(chooseState('/a.db', { ...env, CORDON_STATE: 'memory' }), { kind: 'file', path: '/a.db' });
  assert.deepEqual(chooseState(undefined, { ...env, CORDON_STATE: 'memory' }), { kind: 'memory' });
  assert.equal(chooseState(undefined, { ...env, CORDON_STATE: '' }).kind, 'file');
});

it('a Redis is shown without its password', () => {
  assert.deepEqual(chooseState('rediss://ada:secret@host:1/2', env), {
    kind: 'redis',
    url: 'rediss://ada:secret@host:1/2',
    shown: 'rediss://ada:***@host:1/2',
  });
});

for (const wrong of ['', 'http://host', 'postgres://host', 'redis://', 'redis://[']) {
  it(`${JSON.stringify(wrong)} is refused`, () => {
    assert.throws(() => chooseState(wrong, env), StateChoiceError);
  });
}
