import assert from 'node:assert/strict';
import { test } from 'node:test';
import { harness } from '../codex-policy.js';
import { Policy } from '../src/policy.js';

/** The SHA-256 of "sk-sample". */
const KNOWN = 'db520ca8828b59bf7eeefa5fb5e91f496b9224c1a8a586ac0dfb1cbf93d44a2c';
const policy = harness(Policy, { callers: { [KNOWN]: 'ann' } });
const presenting = (fingerprint) => ({ credential: { scheme: 'Bearer', fingerprint } });

test('a known key names its caller', () => {
  assert.equal(policy.authenticate(presenting(KNOWN)).id, 'ann');
  assert.deepEqual(policy.verify(presenting(KNOWN)).headers[0], ['x-auth-caller', 'ann']);
});

test('other keys and none are refused', () => {
  for (const request of [presenting('0'.repeat(64)), {}]) {
    assert.throws(() => policy.authenticate(request), { status: 401 });
  }
});

test('a wrong member is named', () => {
  assert.throws(() => harness(Policy, { caller: {} }), /^Error: caller: unknown/);
});
