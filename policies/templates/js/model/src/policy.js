// The model policy my-policy: it offers a list of models, the first of which is the default.

import { Denial, read } from '../codex-policy.js';

export class Policy {
  constructor(settings) {
    this.models = read(settings, { models: [] }).models;
  }

  needs() {
    return ['model', 'effort'];
  }

  catalog() {
    return this.models.map((id) => ({ id }));
  }

  resolve({ requested, effort }) {
    const model = requested === undefined ? this.models[0] : this.models.find((name) => name === requested);
    if (!model) throw Denial.modelNotFound('There is no such model. GET /v1/models lists those you have.');
    return { id: model, model, effort };
  }
}
