import assert from 'node:assert/strict';
import { test } from 'node:test';
import { harness } from '../codex-policy.js';
import { Policy } from '../src/policy.js';

const policy = harness(Policy, { per_minute: 3 });
const ask = { caller: { id: 'ann' } };

test('each caller has a bucket', () => {
  const [{ key, limit }] = policy.quotas(ask);
  assert.deepEqual([key, limit], ['ann', 3n]);
});

test('an empty bucket refuses', () => {
  const status = (granted) => ({ name: 'requests', granted, remaining: 0n, resetMs: 20_000n });
  assert.deepEqual(policy.decide(ask, [status(true)]), []);
  assert.throws(() => policy.decide(ask, [status(false)]), { status: 429 });
});
