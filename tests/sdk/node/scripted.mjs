// What the scripts beside this one share: words that tell the scripted provider what to answer.

/** A text that, sent as the user's, makes the provider answer so. */
export const script = (answer) => JSON.stringify({ provider: answer });

/** The same as a message. */
export const user = (answer) => ({ role: "user", content: script(answer) });

/** A function call for `calls`. */
export const call = (name, args) => ({ name, arguments: JSON.stringify(args) });

export const WEATHER = { Paris: "18 degrees", Rome: "24 degrees" };

/** The model calls a function twice at once, gets both results, and answers. */
export const TWO_CITIES = {
  text: ["Let me look."],
  calls: [call("get_weather", { city: "Paris" }), call("get_weather", { city: "Rome" })],
  then: { text: ["Rome ", "is ", "warmer."] },
};

/** It calls one function and says nothing before it. */
export const ONE_CITY = { calls: [call("get_weather", { city: "Paris" })], then: { text: ["18 ", "degrees."] } };

export const WEATHER_SCHEMA = {
  type: "object",
  properties: { city: { type: "string" } },
  required: ["city"],
  additionalProperties: false,
};

/** A red pixel. */
export const PNG =
  "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8DwHwAFBQIAX8jx0gAAAABJRU5ErkJggg==";
