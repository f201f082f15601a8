// Makes cases/ anew, with keys that are forgotten afterwards: `node make-cases.mjs`. Node's own cryptography signs, and not the
// libraries that the policy checks with.

import { constants, createHmac, generateKeyPairSync, sign } from 'node:crypto';
import { mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs';

const here = new URL('cases/', import.meta.url);
/** The time of each case. */
const AT = '2026-12-01T12:00:00Z';
const NOW = Date.parse(AT) / 1000;
const ISSUER = 'https://login.example.com/';

const b64 = (value) => Buffer.from(typeof value === 'string' || Buffer.isBuffer(value) ? value : JSON.stringify(value)).toString('base64url');
const pairs = {
  rsa: generateKeyPairSync('rsa', { modulusLength: 2048 }),
  rsa4096: generateKeyPairSync('rsa', { modulusLength: 4096 }),
  weak: generateKeyPairSync('rsa', { modulusLength: 1024 }),
  huge: generateKeyPairSync('rsa', { modulusLength: 4104 }),
  p256: generateKeyPairSync('ec', { namedCurve: 'P-256' }),
  p384: generateKeyPairSync('ec', { namedCurve: 'P-384' }),
  ed: generateKeyPairSync('ed25519'),
  other: generateKeyPairSync('rsa', { modulusLength: 2048 }),
};
const jwk = (name, more = {}) => ({ ...pairs[name].publicKey.export({ format: 'jwk' }), kid: name, use: 'sig', ...more });
const HOW = {
  RS256: ['sha256', (key) => key],
  RS512: ['sha512', (key) => key],
  PS256: ['sha256', (key) => ({ key, padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: 32 })],
  ES256: ['sha256', (key) => ({ key, dsaEncoding: 'ieee-p1363' })],
  DER: ['sha256', (key) => key],
  EdDSA: [null, (key) => key],
};

/** A token: `header` and `claims` change the usual ones (undefined leaves a member out), or are texts that are taken as they are. */
function token({ key = 'rsa', alg = 'RS256', how = alg, header = {}, claims = {} } = {}) {
  const usual = { iss: ISSUER, aud: 'codex-gateway', sub: 'ann', iat: NOW - 60, exp: NOW + 600 };
  const head = typeof header === 'string' ? header : { alg, typ: 'JWT', kid: key, ...header };
  const body = typeof claims === 'string' ? claims : { ...usual, ...claims };
  const signed = `${b64(head)}.${b64(body)}`;
  const [hash, options] = HOW[how];
  return `${signed}.${b64(sign(hash, Buffer.from(signed), options(pairs[key].privateKey)))}`;
}

const SETTINGS = {
  jwks: { keys: [jwk('rsa'), jwk('rsa4096', { alg: 'RS256' }), jwk('p256', { alg: 'ES256' }), jwk('ed')] },
  issuers: [ISSUER],
  audiences: ['codex-gateway'],
};
const only = (...names) => ({ ...SETTINGS, jwks: { keys: names.map((name) => jwk(name)) } });

rmSync(here, { recursive: true, force: true });
mkdirSync(here);
function write(name, about, rest) {
  const text = JSON.stringify({ about, slot: 'auth', settings: SETTINGS, grants: ['credential'], at: AT, ...rest }, null, 2);
  writeFileSync(new URL(`${name}.case.json`, here), `${text}\n`);
}
const ask = (credential, expect, more = {}) => ({ ...more, input: { credential }, expect });
const ok = (id = 'ann', more = {}) => ({ ok: { id, ...more } });
const denied = (message) => ({
  denied: {
    status: 401,
    kind: 'authentication_error',
    code: 'invalid_api_key',
    message: { $pattern: message },
    headers: [['www-authenticate', 'Bearer realm="api", error="invalid_token"']],
  },
});
const refusal = (name, about, settings, mistake) => write(name, about, { settings, refusal: { $pattern: mistake }, at: undefined });

// Tokens that are accepted.
write('algorithms', 'Tokens of every algorithm are accepted, each by the key that it names.', {
  calls: [
    ask(token(), ok()),
    ask(token({ key: 'rsa4096', claims: { sub: 'bob' } }), ok('bob')),
    ask(token({ key: 'p256', alg: 'ES256', claims: { sub: 'cay' } }), ok('cay')),
    ask(token({ key: 'ed', alg: 'EdDSA', claims: { sub: 'dan' } }), ok('dan')),
  ],
});
write('audience-list', 'A token for several services is for each of them.', {
  calls: [ask(token({ claims: { aud: ['other', 'codex-gateway'] } }), ok())],
});
write('names', 'Tenant and groups are read from the claims that the settings name.', {
  settings: { ...SETTINGS, claims: { id: 'email', tenant: 'https://example.com/tenant', groups: ['realm_access', 'roles'] } },
  calls: [
    ask(
      token({ claims: { email: 'ann@example.com', 'https://example.com/tenant': 'acme', realm_access: { roles: ['staff', 'eu west'] } } }),
      ok('ann@example.com', { tenant: 'acme', groups: ['staff', 'eu west'] }),
    ),
    ask(token({ claims: { email: 'bob@example.com', 'https://example.com/tenant': 'acme' } }), ok('bob@example.com', { groups: [] })),
    ask(token({ claims: { email: 'bob@example.com' } }), denied('tenant')),
    ask(token({ claims: { 'https://example.com/tenant': 'acme' } }), denied('caller')),
    ask(token({ claims: { email: 'a@b', 'https://example.com/tenant': 'acme', realm_access: { roles: ['a,b'] } } }), denied('groups')),
    ask(token({ claims: { email: 'a@b', 'https://example.com/tenant': 'acme', realm_access: { roles: [1] } } }), denied('groups')),
    ask(
      token({ claims: { email: 'a@b', 'https://example.com/tenant': 'acme', realm_access: { roles: Array.from({ length: 257 }, (_, at) => `g${at}`) } } }),
      denied('too many groups'),
    ),
  ],
});
write('scopes', 'Groups may be a text with spaces between them.', {
  settings: { ...SETTINGS, claims: { groups: 'scope' } },
  calls: [ask(token({ claims: { scope: 'chat  admin' } }), ok('ann', { groups: ['chat', 'admin'] }))],
});
write('edge-proxy', 'An edge proxy gets the caller in three headers.', {
  settings: { ...SETTINGS, claims: { tenant: 'tid', groups: 'groups' } },
  calls: [
    {
      call: 'verify',
      ...ask(token({ claims: { tid: 'acme', groups: ['staff', 'eu'] } }), {
        ok: { caller: { id: 'ann' }, headers: [['x-auth-caller', 'ann'], ['x-auth-tenant', 'acme'], ['x-auth-groups', 'staff,eu']] },
      }),
    },
  ],
});
write('only-key', 'A token without a kid is checked with the only key, which may have none.', {
  settings: { ...SETTINGS, jwks: { keys: [jwk('rsa', { kid: undefined })] } },
  calls: [
    ask(token({ header: { kid: undefined } }), ok()),
    ask(token(), denied('kid')),
    ask(token({ key: 'other', header: { kid: undefined } }), denied('signature')),
  ],
});
write('types', 'Access tokens may say so, in any case and with the whole media type.', {
  calls: [
    ask(token({ header: { typ: 'at+jwt' } }), ok()),
    ask(token({ header: { typ: 'application/AT+JWT' } }), ok()),
    ask(token({ header: { typ: undefined } }), ok()),
    ask(token({ header: { typ: 'logout+jwt' } }), denied('typ')),
    ask(token({ header: { typ: 7 } }), denied('not a JWT')),
  ],
});

// Times.
const later = (call, at) => ({ ...call, at });
const long = token({ claims: { iat: NOW, nbf: NOW, exp: NOW + 600 } });
write('times', 'A token is valid from nbf to exp, give or take the leeway.', {
  at: '2026-12-01T11:00:00Z',
  calls: [
    later(ask(long, denied('not valid yet')), '2026-12-01T11:58:59Z'),
    later(ask(long, ok()), '2026-12-01T11:59:00Z'),
    later(ask(long, ok()), '2026-12-01T12:10:59Z'),
    later(ask(long, denied('expired')), '2026-12-01T12:11:00Z'),
    later(ask(long, denied('expired')), '2030-01-01T00:00:00Z'),
  ],
});
write('no-leeway', 'Without leeway a token ends when it says.', {
  settings: { ...SETTINGS, leeway_s: 0 },
  calls: [
    later(ask(long, ok()), '2026-12-01T12:00:00Z'),
    later(ask(long, ok()), '2026-12-01T12:09:59Z'),
    later(ask(long, denied('expired')), '2026-12-01T12:10:00Z'),
  ],
});
write('wrong-times', 'Times that are none are refused, and so is a token without an end.', {
  calls: [
    ask(token({ claims: { exp: undefined } }), denied('exp')),
    ask(token({ claims: { exp: String(NOW + 600) } }), denied('seconds')),
    ask(token({ claims: { exp: (NOW + 600) * 1000 } }), denied('seconds')),
    ask(token({ claims: { nbf: 'soon' } }), denied('seconds')),
    ask(token({ claims: { iat: -1 } }), denied('seconds')),
    ask(token({ claims: { iat: NOW + 61 } }), denied('not valid yet')),
    ask(token({ claims: { exp: NOW + 0.5, iat: NOW - 0.5 } }), ok()),
  ],
});

// Claims.
write('claims', 'A token of another issuer, for another service, or of no caller is refused.', {
  calls: [
    ask(token({ claims: { iss: 'https://login.example.com' } }), denied('iss')),
    ask(token({ claims: { iss: undefined } }), denied('iss')),
    ask(token({ claims: { iss: [ISSUER] } }), denied('iss')),
    ask(token({ claims: { aud: 'codex' } }), denied('aud')),
    ask(token({ claims: { aud: [] } }), denied('aud')),
    ask(token({ claims: { aud: undefined } }), denied('aud')),
    ask(token({ claims: { sub: undefined } }), denied('caller')),
    ask(token({ claims: { sub: '' } }), denied('caller')),
    ask(token({ claims: { sub: 7 } }), denied('caller')),
    ask(token({ claims: { sub: 'ann\r\nx-auth-groups: admin' } }), denied('caller')),
    ask(token({ claims: { sub: 'a'.repeat(257) } }), denied('caller')),
  ],
});

// Signatures and algorithms.
const hmac = (() => {
  const signed = `${b64({ alg: 'HS256', typ: 'JWT', kid: 'rsa' })}.${b64({ iss: ISSUER, aud: 'codex-gateway', sub: 'eve', exp: NOW + 600 })}`;
  const pem = pairs.rsa.publicKey.export({ format: 'pem', type: 'spki' });
  return `${signed}.${createHmac('sha256', pem).update(signed).digest('base64url')}`;
})();
const [head, body, signature] = token().split('.');
const own = pairs.other.publicKey.export({ format: 'jwk' });
write('algorithm-of-the-key', 'The algorithm is the key\'s: a token cannot choose none, HMAC with the public key, or another one.', {
  calls: [
    ask(`${b64({ alg: 'none', kid: 'rsa' })}.${body}.`, denied('alg')),
    ask(`${b64({ alg: 'None', kid: 'rsa' })}.${body}.${signature}`, denied('alg')),
    ask(hmac, denied('alg')),
    ask(token({ alg: 'RS512' }), denied('alg')),
    ask(token({ alg: 'PS256' }), denied('alg')),
    ask(token({ alg: 'RS256', how: 'PS256' }), denied('signature')),
    ask(token({ alg: 'RS256', how: 'RS512' }), denied('signature')),
    ask(token({ alg: 'RS256', header: { kid: 'p256' } }), denied('alg')),
    ask(token({ header: { alg: 'rs256' } }), denied('alg')),
    ask(token({ header: { alg: undefined } }), denied('alg')),
  ],
});
const tampered = b64({ iss: ISSUER, aud: 'codex-gateway', sub: 'root', exp: NOW + 600 });
write('signatures', 'A token that was changed, or signed by another key or in another form, is refused.', {
  calls: [
    ask(`${head}.${tampered}.${signature}`, denied('signature')),
    ask(`${b64({ alg: 'RS256', kid: 'rsa' })}.${body}.${signature}`, denied('signature')),
    ask(`${head}.${body}.`, denied('signature')),
    ask(`${head}.${body}.${b64(Buffer.concat([Buffer.from([0]), Buffer.from(signature, 'base64url')]))}`, denied('signature')),
    ask(token({ key: 'other', header: { kid: 'rsa' } }), denied('signature')),
    ask(token({ key: 'other', header: { kid: 'rsa', jwk: own, jku: 'https://evil.example/jwks' } }), denied('signature')),
    ask(token({ key: 'p256', alg: 'ES256', how: 'DER' }), denied('signature')),
    ask(`${token({ key: 'p256', alg: 'ES256' }).split('.').slice(0, 2).join('.')}.${b64(Buffer.alloc(64))}`, denied('signature')),
    ask(`${token({ key: 'ed', alg: 'EdDSA' }).split('.').slice(0, 2).join('.')}.${b64(Buffer.alloc(64))}`, denied('signature')),
  ],
});
write('kid', 'A token names its key; keys that it brings along are not read.', {
  calls: [
    ask(token({ header: { kid: 'new' } }), denied('kid')),
    ask(token({ header: { kid: undefined } }), denied('kid')),
    ask(token({ header: { kid: 7 } }), denied('not a JWT')),
    ask(token({ header: { kid: 'k'.repeat(257) } }), denied('kid')),
    ask(token({ key: 'other', header: { jwk: own, x5c: [] } }), denied('kid')),
  ],
});
const twice = (name, value) => `{"alg":"RS256","typ":"JWT","kid":"rsa","${name}":${JSON.stringify(value)}}`;
write('form', 'Texts that are no signed JWT are refused, and so are members that are there twice.', {
  calls: [
    ask('sk-ann', denied('not a JWT')),
    ask('a.b', denied('not a JWT')),
    ask('..', denied('not a JWT')),
    ask(`${token()}.x`, denied('not a JWT')),
    ask(`${token()}=`, denied('not a JWT')),
    ask(`${b64('[]')}.${body}.${signature}`, denied('not a JWT')),
    ask(`${b64('{"a":'.repeat(700))}.${body}.${signature}`, denied('not a JWT')),
    ask(token({ header: twice('alg', 'none') }), denied('not a JWT')),
    ask(token({ header: twice('kid', 'ed') }), denied('not a JWT')),
    ask(token({ claims: `{"iss":"${ISSUER}","aud":"codex-gateway","sub":"ann","sub":"root","exp":${NOW + 600}}` }), denied('not a JWT')),
    ask(token({ claims: 'ann' }), denied('not a JWT')),
    ask(token({ claims: { more: 'x'.repeat(20000) } }), denied('too long')),
    ask(token({ header: { more: 'x'.repeat(5000) } }), denied('too long')),
  ],
});
write('crit', 'Extensions that must be understood are refused, as none is.', {
  calls: [
    ask(token({ header: { crit: ['b64'], b64: false } }), denied('crit')),
    ask(token({ header: { crit: [] } }), denied('crit')),
  ],
});
write('no-token', 'Without a token the challenge names no error; another scheme is none.', {
  settings: { ...SETTINGS, realm: 'Acme AI' },
  calls: [
    ask(null, { denied: { status: 401, code: 'invalid_api_key', headers: [['www-authenticate', 'Bearer realm="Acme AI"']] } }),
    ask({ scheme: 'Basic', fingerprint: '0'.repeat(64), secret: token() }, { denied: { status: 401, message: { $pattern: 'scheme' } } }),
  ],
});

// Settings.
write('left-out', 'Keys for encryption and of other algorithms are left out, members that are not known are not read.', {
  settings: {
    ...SETTINGS,
    jwks: { keys: [jwk('other', { use: 'enc' }), jwk('rsa4096', { alg: 'PS256' }), jwk('p384'), jwk('p256', { key_ops: ['sign'] }), jwk('rsa', { x5t: 'abc' })] },
  },
  calls: [
    ask(token(), ok()),
    ask(token({ key: 'other' }), denied('kid')),
    ask(token({ key: 'rsa4096' }), denied('kid')),
    ask(token({ key: 'p256', alg: 'ES256' }), denied('kid')),
  ],
});
const settings = (...keys) => ({ ...SETTINGS, jwks: { keys } });
refusal('refused-secret', 'A shared secret is no key.', settings({ kty: 'oct', k: 'c2VjcmV0', kid: 'a' }), 'jwks\\.keys\\[0\\]: this is a shared secret');
refusal('refused-private', 'A private key is not to be here.', settings({ ...pairs.ed.privateKey.export({ format: 'jwk' }), kid: 'a' }), 'this is a private key');
refusal('refused-weak', 'RSA keys of less than 2048 bits are refused.', only('weak'), '2048 to 4096 bits');
refusal('refused-huge', 'RSA keys of more than 4096 bits would take too long.', only('huge'), '2048 to 4096 bits');
refusal('refused-point', 'A point that is not on the curve is no key.', settings({ ...jwk('p256'), y: jwk('p256').x }), 'a point of the curve P-256');
refusal('refused-order', 'A point of small order is no key: anybody signs with it.', settings({ kty: 'OKP', crv: 'Ed25519', x: b64(Buffer.from([1, ...Array(31).fill(0)])) }), 'not of small order');
refusal('refused-kids', 'Several keys have a kid each.', settings(jwk('rsa'), jwk('ed', { kid: 'rsa' })), 'jwks\\.keys\\[1\\]\\.kid: an earlier key');
refusal('refused-no-kid', 'One of several keys without a kid is refused.', settings(jwk('rsa'), jwk('ed', { kid: undefined })), 'give each of several keys a `kid`');
refusal('refused-none', 'A set without a key that can be used is refused.', only('p384'), 'expected a key for RS256, ES256 or EdDSA');
console.log(`${readdirSync(here).length} cases`);
