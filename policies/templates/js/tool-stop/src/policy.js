// The tool-stop policy my-policy: a turn ends with a number of tool calls.

import { read } from '../codex-policy.js';

export class Policy {
  constructor(settings) {
    this.maxCalls = read(settings, { max_calls: 10 }).max_calls;
    if (this.maxCalls < 1) throw new Error('max_calls: give at least 1');
  }

  needs() {
    // The number of calls is always known.
    return [];
  }

  observe({ calls }, _event, memo) {
    return [{ tag: calls >= this.maxCalls ? 'stop' : 'go-on' }, memo];
  }
}
