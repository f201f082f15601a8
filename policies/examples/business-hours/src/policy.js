// The model policy business-hours: all models in business hours, outside of them the cheap ones, and none on holidays.

import { Denial, read } from '../codex-policy.js';

const DAYS = ['sunday', 'monday', 'tuesday', 'wednesday', 'thursday', 'friday', 'saturday'];
const MINUTE = 60_000;
/** A model that is not back within so many days is not said to come back. */
const LOOK_AHEAD_DAYS = 366;

/** Minutes since midnight of `08:30`; `24:00` ends a day. */
function minutes(place, text) {
  const found = /^([01]\d|2[0-3]):([0-5]\d)$|^24:00$/.exec(text);
  if (!found) throw new Error(`${place}: expected a time as 08:30, found ${JSON.stringify(text)}`);
  return found[1] === undefined ? 1440 : Number(found[1]) * 60 + Number(found[2]);
}

function hours(days) {
  return DAYS.map((day) => (days[day] ?? []).map((span, index) => {
    const place = `hours.${day}[${index}]`;
    const [from, to] = [minutes(`${place}[0]`, span[0]), minutes(`${place}[1]`, span[1])];
    if (from >= to) throw new Error(`${place}: it ends before it begins; give the next day its own part`);
    return { from, to };
  }));
}

/** A day as the number of days since 1970. */
function day(place, text) {
  const at = Date.parse(`${text}T00:00:00Z`);
  // JavaScript takes the 31st of February for the 3rd of March.
  if (Number.isNaN(at) || new Date(at).toISOString().slice(0, 10) !== text) {
    throw new Error(`${place}: expected a day as 2026-12-25, found ${JSON.stringify(text)}`);
  }
  return at / 86_400_000;
}

export class Policy {
  constructor(settings, host) {
    const given = read(settings, { models: [], cheap: [], hours: {}, holidays: [], utc_offset_minutes: 0 });
    const unknown = Object.keys(given.hours).filter((name) => !DAYS.includes(name));
    if (unknown.length > 0) throw new Error(`hours.${unknown[0]}: unknown, expected one of ${DAYS.join(', ')}`);
    this.hours = hours(given.hours);
    this.holidays = new Set(given.holidays.map((text, index) => day(`holidays[${index}]`, text)));
    this.offset = given.utc_offset_minutes * MINUTE;
    // Without a list of their own, the models are those of Codex.
    this.models = given.models.length > 0 ? given.models : (host.models ?? []).map((model) => model.id);
    this.cheap = given.cheap;
    const stray = this.cheap.findIndex((name) => !this.models.includes(name));
    if (stray >= 0) throw new Error(`cheap[${stray}]: ${this.cheap[stray]} is none of the models, ${this.models.join(', ')}`);
  }

  needs() {
    // Hours begin with a minute.
    return ['model', 'effort', { tag: 'now', val: MINUTE }];
  }

  /** The models that may be used at a time, the default first. */
  allowed(now) {
    if (this.isHoliday(now)) return [];
    return this.isOpen(now) ? this.models : this.cheap;
  }

  isHoliday(now) {
    return this.holidays.has(Math.floor((now + this.offset) / 86_400_000));
  }

  isOpen(now) {
    const local = new Date(now + this.offset);
    const minute = local.getUTCHours() * 60 + local.getUTCMinutes();
    return this.hours[local.getUTCDay()].some(({ from, to }) => from <= minute && minute < to);
  }

  /** The next time at which a model may be used: one comes with a part of a day, or with the end of a holiday. */
  opening(now, model) {
    const midnight = now - ((now + this.offset) % 86_400_000);
    for (let ahead = 0; ahead <= LOOK_AHEAD_DAYS; ahead += 1) {
      const start = midnight + ahead * 86_400_000;
      const parts = this.hours[new Date(start + this.offset).getUTCDay()];
      const times = [start, ...parts.map(({ from }) => start + from * MINUTE)].sort((one, other) => one - other);
      const next = times.find((at) => at > now && this.allowed(at).includes(model));
      if (next !== undefined) return next;
    }
    return undefined;
  }

  catalog() {
    return this.allowed(Date.now()).map((id) => ({ id }));
  }

  resolve({ requested, effort }) {
    const now = Date.now();
    const allowed = this.allowed(now);
    const model = requested ?? allowed[0] ?? this.models[0];
    if (allowed.includes(model)) return { id: model, model, effort };
    if (!this.models.includes(model)) throw Denial.modelNotFound('There is no such model. GET /v1/models lists those you have.');
    const next = this.opening(now, model);
    const when = next === undefined ? '' : ` It is available again at ${new Date(next).toISOString().slice(0, 16)}Z.`;
    const why = this.isHoliday(now) ? 'There is no service on holidays.' : `The model ${model} is for business hours.`;
    const instead = allowed.length > 0 ? ` Now there is ${allowed.join(', ')}.` : '';
    const denial = new Denial(403, 'permission_error', 'outside_business_hours', why + instead + when);
    if (next !== undefined) denial.headers.push(['retry-after', String(Math.ceil((next - now) / 1000))]);
    throw Object.assign(denial, { param: 'model' });
  }
}
