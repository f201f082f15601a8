import assert from 'node:assert/strict';
import { test } from 'node:test';
import { harness } from '../codex-policy.js';
import { Policy } from '../src/policy.js';

const policy = harness(Policy, { models: ['gpt-5', 'gpt-5-mini'] });
const caller = { id: 'ann' };

test('the first model is the default', () => {
  assert.equal(policy.resolve({ caller }).model, 'gpt-5');
  assert.equal(policy.resolve({ caller, requested: 'gpt-5-mini' }).model, 'gpt-5-mini');
});

test('another model does not exist', () => {
  assert.throws(() => policy.resolve({ caller, requested: 'gpt-4' }), { status: 404 });
});
