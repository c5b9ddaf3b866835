// Runs a TensorFlow.js graph model: node replay.js FOLDER
//
// Says {"ready": outputs} on a line; then reads a line {"values", "shape",
// "dtype"} at a time and answers with {output: {"shape", "values"}}.
process.on('uncaughtException', error => {
  console.error(error.message.split('\n')[0]);
  process.exit(1);
});
const tf = require('@tensorflow/tfjs');
const fs = require('fs'), path = require('path');
const folder = process.argv[2];
const load = async () => {
  const model = JSON.parse(fs.readFileSync(path.join(folder, 'model.json')));
  const weights = model.weightsManifest[0];
  const data = Buffer.concat(
    weights.paths.map(p => fs.readFileSync(path.join(folder, p))));
  return tf.loadGraphModel(tf.io.fromMemory({
    modelTopology: model.modelTopology, weightSpecs: weights.weights,
    weightData: data.buffer.slice(
      data.byteOffset, data.byteOffset + data.byteLength),
    signature: model.signature, format: model.format}));
};
load().then(model => {
  const outputs = model.modelSignature.outputs, keys = Object.keys(outputs);
  console.log(JSON.stringify({ready: keys}));
  require('readline').createInterface({input: process.stdin}).on(
    'line', async line => {
      const given = JSON.parse(line);
      const x = tf.tensor(given.values, given.shape, given.dtype);
      const found = await model.executeAsync(
        {[Object.keys(model.modelSignature.inputs)[0]]: x},
        keys.map(k => outputs[k].name));
      const all = Array.isArray(found) ? found : [found];
      const answer = {};
      keys.forEach((k, i) => answer[k] =
        {shape: all[i].shape, values: Array.from(all[i].dataSync())});
      console.log(JSON.stringify(answer));
    });
});
