// The rate-limit policy my-policy: each caller has a number of requests in a minute.

import { read } from '../codex-policy.js';

export class Policy {
  constructor(settings) {
    this.perMinute = read(settings, { per_minute: 60 }).per_minute;
    if (this.perMinute < 1) throw new Error('per_minute: give at least 1');
  }

  needs() {
    return ['caller'];
  }

  quotas({ caller }) {
    if (!caller) return [];
    return [{ name: 'requests', key: caller.id, unit: 'requests', limit: this.perMinute, windowMs: 60_000 }];
  }
}
