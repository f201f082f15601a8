import assert from 'node:assert/strict';
import { mock, test } from 'node:test';
import { harness } from '../codex-policy.js';
import { Policy } from '../src/policy.js';

const settings = {
  models: ['gpt-6', 'gpt-6-mini'],
  cheap: ['gpt-6-mini'],
  hours: { friday: [['08:00', '12:00'], ['13:00', '17:30']], monday: [['08:00', '24:00']] },
  holidays: ['2026-12-25'],
  utc_offset_minutes: 60,
};
const caller = { id: 'ann' };

function at(time) {
  mock.timers.reset();
  mock.timers.enable({ apis: ['Date'], now: Date.parse(time) });
  return harness(Policy, settings);
}

test('hours begin and end by the clock of the time zone', () => {
  for (const [time, model] of [
    ['2026-12-04T06:59:00Z', 'gpt-6-mini'],
    ['2026-12-04T07:00:00Z', 'gpt-6'],
    ['2026-12-04T11:00:00Z', 'gpt-6-mini'],
    ['2026-12-04T12:00:00Z', 'gpt-6'],
    ['2026-12-04T16:30:00Z', 'gpt-6-mini'],
    ['2026-12-07T22:59:00Z', 'gpt-6'],
    ['2026-12-07T23:00:00Z', 'gpt-6-mini'],
  ]) {
    assert.equal(at(time).resolve({ caller }).model, model, time);
  }
});

test('a model that has to wait says until when', () => {
  // From Friday evening to Monday morning.
  assert.throws(() => at('2026-12-04T16:30:00Z').resolve({ caller, requested: 'gpt-6' }), (denial) => {
    assert.equal(denial.code, 'outside_business_hours');
    assert.match(denial.message, /2026-12-07T07:00Z/);
    assert.deepEqual(denial.headers, [['retry-after', String((2 * 24 + 14.5) * 3600)]]);
    return true;
  });
});

test('a holiday has no models, and ends at midnight for the cheap ones', () => {
  assert.deepEqual(at('2026-12-25T10:00:00Z').catalog(caller), []);
  assert.throws(() => at('2026-12-25T10:00:00Z').resolve({ caller, requested: 'gpt-6-mini' }), { code: 'outside_business_hours', message: /holidays.*2026-12-25T23:00Z/ });
  assert.equal(at('2026-12-25T23:00:00Z').resolve({ caller }).model, 'gpt-6-mini');
});

test('mistakes in the settings are named', () => {
  for (const [change, expected] of [
    [{ cheap: ['gpt-5'] }, /^Error: cheap\[0\]: gpt-5 is none/],
    [{ hours: { friday: [['17:00', '08:00']] } }, /^Error: hours\.friday\[0\]: it ends before/],
    [{ hours: { friday: [['8:00', '17:00']] } }, /^Error: hours\.friday\[0\]\[0\]: expected a time/],
    [{ hours: { freitag: [] } }, /^Error: hours\.freitag: unknown/],
    [{ holidays: ['2026-02-31'] }, /^Error: holidays\[0\]: expected a day/],
  ]) {
    assert.throws(() => harness(Policy, { ...settings, ...change }), expected);
  }
});
