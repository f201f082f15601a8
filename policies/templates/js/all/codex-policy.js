// The SDK of codex-gateway's policies in JavaScript: reads settings, names denials, makes a class a component, and asks it in tests.
//
// A policy is a class. `constructor(settings, host)` checks the settings, and throws an Error that names the wrong member;
// `needs()` returns the parts of the input that decisions read, as names or as `{ tag: 'now', val: 1000 }`. The other methods are the
// functions of its world in wit/, with the names and types of `npm run types`. A thrown Denial is the answer.

/** A refusal, as the contract's `denial`. */
export class Denial {
  constructor(status, kind, code, message, headers = []) {
    Object.assign(this, { status, kind, code, message, param: undefined, headers });
  }

  /** 400: the request is wrong, and always will be. */
  static invalid(code, message) {
    return new Denial(400, 'invalid_request_error', code, message);
  }

  /** 401 `invalid_api_key`: the caller is unknown. */
  static unauthorized(message) {
    return new Denial(401, 'authentication_error', 'invalid_api_key', message, [['www-authenticate', 'Bearer realm="api"']]);
  }

  /** 403 `forbidden`: the caller is known, and may not do this. */
  static forbidden(message) {
    return new Denial(403, 'permission_error', 'forbidden', message);
  }

  /** 404 `model_not_found`: there is no such model, or not for this caller. */
  static modelNotFound(message) {
    const denial = new Denial(404, 'invalid_request_error', 'model_not_found', message);
    return Object.assign(denial, { param: 'model' });
  }

  /** 429 `rate_limited`: the caller must wait, for so many milliseconds. */
  static rateLimited(message, waitMs) {
    const wait = Number(waitMs) || 1000;
    const headers = [['retry-after', String(Math.ceil(wait / 1000))], ['retry-after-ms', String(wait)]];
    return new Denial(429, 'rate_limit_error', 'rate_limited', message, headers);
  }

  /** 503 `policy_unavailable`: the policy cannot serve the request. */
  static unavailable(message) {
    return new Denial(503, 'server_error', 'policy_unavailable', message);
  }
}

const kind = (value) => (value === null ? 'null' : Array.isArray(value) ? 'a list' : typeof value);

/** The settings, with a default for each absent member. The Error names every member that is unknown or of another type. */
export function read(settings, defaults) {
  const mistakes = [];
  for (const [name, value] of Object.entries(settings)) {
    if (!Object.hasOwn(defaults, name)) {
      mistakes.push(`${name}: unknown, expected one of ${Object.keys(defaults).join(', ')}`);
    } else if (kind(value) !== kind(defaults[name])) {
      mistakes.push(`${name}: expected ${kind(defaults[name])}, found ${kind(value)}`);
    }
  }
  if (mistakes.length > 0) throw new Error(mistakes.join('; '));
  return { ...defaults, ...settings };
}

const declared = (policy) => {
  const needs = policy.needs?.() ?? [];
  return needs.map((need) => (typeof need === 'string' ? { tag: need } : need));
};

/** Empty headers are sent too: a proxy overwrites only the headers it receives, and a client can invent the others. */
function grant(caller) {
  const headers = [
    ['x-auth-caller', caller.id],
    ['x-auth-tenant', caller.tenant ?? ''],
    ['x-auth-groups', (caller.groups ?? []).join(',')],
  ];
  return { caller, headers };
}

/** The functions of all worlds, with what a policy leaves out. */
function questions(policy) {
  const authenticate = (request) => ({ tenant: undefined, groups: [], ...policy.authenticate(request) });
  return {
    authenticate,
    verify: (original) => policy.verify?.(original) ?? grant(authenticate(original)),
    catalog(caller) {
      return policy.catalog(caller).map((card) => ({ ownedBy: 'codex', ...card, created: BigInt(card.created ?? 0) }));
    },
    resolve: (ask) => ({ effort: undefined, provider: undefined, ...policy.resolve(ask) }),
    quotas(ask) {
      const whole = ({ limit, windowMs, cost, ...quota }) => ({
        ...quota, limit: BigInt(limit), windowMs: BigInt(windowMs ?? 0), cost: BigInt(cost ?? 1),
      });
      return policy.quotas(ask).map(whole);
    },
    decide(ask, statuses) {
      if (policy.decide) return policy.decide(ask, statuses);
      const waits = statuses.filter((status) => !status.granted).map((status) => Number(status.resetMs));
      if (waits.length > 0) throw Denial.rateLimited('Rate limit reached.', Math.max(...waits));
      return [];
    },
    observe: (progress, event, memo) => policy.observe(progress, event, memo),
  };
}

/** The exports of a component: `manifest` has `name`, `version` and `settingsSchema`. */
export function component(Policy, manifest) {
  let policy;
  let asked;
  const ask = (name) => (...input) => {
    if (!asked) throw Denial.unavailable('The policy has not been configured.');
    try {
      return asked[name](...input);
    } catch (error) {
      // A fault: the log shows what is printed, and the engine ends the call.
      if (!(error instanceof Denial)) console.error(`${error}\n${error?.stack ?? ''}`);
      throw error;
    }
  };
  const lifecycle = {
    about: () => manifest,
    configure(text) {
      try {
        const { host, ...settings } = JSON.parse(text);
        policy = new Policy(settings, host ?? {});
        asked = questions(policy);
      } catch (error) {
        throw String(error?.message ?? error);
      }
    },
    needs: () => declared(policy),
  };
  return {
    lifecycle,
    auth: { authenticate: ask('authenticate') },
    forwardAuth: { verify: ask('verify') },
    model: { catalog: ask('catalog'), resolve: ask('resolve') },
    rateLimit: { quotas: ask('quotas'), decide: ask('decide') },
    toolStop: { observe: ask('observe') },
  };
}

const CALLER = { id: '', tenant: undefined, groups: [] };
const REQUEST = {
  id: '', method: '', path: '', query: undefined, host: '', client: '', headers: [], credential: undefined, nowMs: 0n,
};
const MODEL = { requested: undefined, effort: undefined };
const LIMIT = { client: '', endpoint: '', model: undefined, streaming: false, estimatedTokens: 0n, nowMs: 0n };
const PROGRESS = { model: '', streaming: false, calls: 0, elapsedMs: 0n };
/** The need for each part whose name is another. */
const NEED = { nowMs: 'now', elapsedMs: 'now', requested: 'model', estimatedTokens: 'estimated-tokens' };

/** A configured policy for tests: it sees the parts of the input that it declared, and blanks otherwise, as in the gateway. */
export function harness(Policy, settings = {}, host = {}) {
  const policy = new Policy(settings, host);
  const needs = declared(policy);
  const has = (tag) => needs.some((need) => need.tag === tag);
  const steps = needs.filter((need) => need.tag === 'now').map((need) => BigInt(need.val));
  const names = needs.filter((need) => need.tag === 'header').map((need) => need.val);
  const step = (value) => {
    const finest = steps.reduce((least, one) => (one < least ? one : least));
    return BigInt(value) - (BigInt(value) % finest);
  };
  const seen = (blank, full = {}) => {
    const parts = Object.entries(blank).map(([name, nothing]) => {
      if (!(name in full)) return [name, nothing];
      const need = NEED[name] ?? name;
      if (name === 'headers') return [name, full.headers.filter(([header]) => has('headers') || names.includes(header))];
      // The number of calls is always known.
      if (name !== 'calls' && !has(need)) return [name, nothing];
      return [name, need === 'now' ? step(full[name]) : full[name]];
    });
    return Object.fromEntries(parts);
  };
  const caller = (full) => full && {
    ...CALLER,
    ...(has('caller') && { id: full.id, tenant: full.tenant }),
    ...(has('groups') && { groups: full.groups ?? [] }),
  };
  const of = (blank) => (full) => ({ ...seen(blank, full), caller: caller(full?.caller) });
  const [model, limit, progress] = [MODEL, LIMIT, PROGRESS].map(of);
  const asked = questions(policy);
  return {
    authenticate: (request) => asked.authenticate(seen(REQUEST, request)),
    verify: (original) => asked.verify(seen(REQUEST, original)),
    catalog: (full) => asked.catalog(caller(full)),
    resolve: (ask) => asked.resolve(model(ask)),
    quotas: (ask) => (ask.caller || has('by-address') ? asked.quotas(limit(ask)) : []),
    decide: (ask, statuses) => asked.decide(limit(ask), statuses),
    observe: (full, event, memo = new Uint8Array()) => asked.observe(progress(full), event, memo),
  };
}
