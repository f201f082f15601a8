import assert from 'node:assert/strict';
import { test } from 'node:test';
import { harness } from '../codex-policy.js';
import { Policy } from '../src/policy.js';

const policy = harness(Policy, { max_calls: 2 });
const reaction = (calls) => policy.observe({ calls, caller: { id: 'ann' } }, { tag: 'quiet', val: 1 })[0].tag;

test('the last call allowed ends the turn', () => {
  assert.equal(reaction(2), 'stop');
});

test('fewer calls go on', () => {
  assert.equal(reaction(1), 'go-on');
});
