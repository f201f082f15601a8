// The auth policy my-policy: it knows callers by the SHA-256 of their keys.

import { Denial, read } from '../codex-policy.js';

export class Policy {
  constructor(settings) {
    const { callers } = read(settings, { callers: {} });
    for (const [fingerprint, id] of Object.entries(callers)) {
      if (!/^[0-9a-f]{64}$/.test(fingerprint)) {
        throw new Error(`callers: expected 64 lower-case hexadecimal digits for ${id}, \`codex-gateway key hash\` prints them`);
      }
    }
    this.callers = new Map(Object.entries(callers));
  }

  needs() {
    return ['credential'];
  }

  authenticate(request) {
    if (!request.credential) throw Denial.unauthorized("Send a key as 'Authorization: Bearer KEY'.");
    const id = this.callers.get(request.credential.fingerprint);
    if (!id) throw Denial.unauthorized('Incorrect API key.');
    return { id };
  }
}
