// Predicts rows with the model in this folder; `tf` is TensorFlow.js, in a browser or in Node.

// Returns predictions by output, nested arrays of numbers.
//   model: what `tf.loadGraphModel("./model.json")` or `modelFrom` gives.
//   rows: the cells of each column: numbers, null for an empty one; texts, "" for an empty one; nested arrays of numbers.
export async function predict(tf, model, rows) {
  const { isAsynchronous, structuredOutputKeys } = model.metadata;
  const inputs = Object.fromEntries(
    Object.entries(rows).map(([name, cells]) => [name, tensor(tf, cells, encodingOf(model, name))]),
  );
  const { outputs: tensors } = model.modelSignature; // `model.predict` can't name an output `__proto__`
  const names = structuredOutputKeys.map((name) => tensors[name].name);
  const outputs = [isAsynchronous ? await model.executeAsync(inputs, names) : model.execute(inputs, names)].flat();
  const arrays = await Promise.all(outputs.map((y) => y.array()));
  tf.dispose([Object.values(inputs), outputs]);
  return Object.fromEntries(structuredOutputKeys.map((name, k) => [name, arrays[k]]));
}

// Returns how the texts of a column become ids or numbers, or undefined if it has none; a column may be `constructor`.
export function encodingOf(model, name) {
  return Object.hasOwn(model.metadata.text, name) ? model.metadata.text[name] : undefined;
}

// Returns the model from the bytes of its files, for Node, where `tf.loadGraphModel` reads none.
export async function modelFrom(tf, read) {
  await tf.ready();
  const model = JSON.parse(new TextDecoder().decode(await read("model.json")));
  const [{ paths, weights }] = model.weightsManifest;
  const weightData = await new Blob(await Promise.all(paths.map(read))).arrayBuffer();
  return tf.loadGraphModel(tf.io.fromMemory({ ...model, weightSpecs: weights, weightData }));
}

// Returns an input of the model; see `encodingOf`.
function tensor(tf, cells, encoding) {
  if (!encoding) return filled(tf, cells, (number) => number ?? NaN, "float32");
  const { kind, values, bins, length } = encoding;
  if (kind === "numbers") {
    const numbers = new Map(Object.entries(values));
    return filled(tf, cells, (text) => numbers.get(encoding.lower ? text.toLowerCase() : text) ?? NaN, "float32");
  }
  const hash = (text) => 1 + tf.tidy(() => tf.string.stringToHashBucketFast([text], bins).dataSync()[0]);
  const places = new Map(values?.map((text, k) => [text, k]));
  if (kind === "category") return filled(tf, cells, (text) => 1 + (places.get(text) ?? -1), "int32");
  if (kind === "hashed") return filled(tf, cells, (text) => (text === "" ? 0 : hash(text)), "int32");
  const idOf = kind === "words" ? (word) => 2 + (places.get(word) ?? -1) : hash;
  const rows = cells.flat().map((text) => {
    const ids = text.split(/[ \t\n\v\f\r]+/).filter(Boolean).slice(0, length).map(idOf);
    return [...ids, ...Array(length - ids.length).fill(0)];
  });
  return tf.tensor2d(rows, undefined, "int32");
}

// Returns a tensor with a value for each cell, however deep they are nested; a row of one cell needs no array.
function filled(tf, cells, valueOf, dtype) {
  const all = (cell) => (Array.isArray(cell) ? cell.map(all) : valueOf(cell));
  return tf.tensor(cells.map((cell) => all([cell].flat(1))), undefined, dtype);
}
