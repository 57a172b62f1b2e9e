// Lies beside the user's main.js, loads it and prints the value of its main().
const fs = require('fs');
const path = require('path');

fs.mkdirSync(path.join(__dirname, 'artifacts'), { recursive: true });
const { main } = require('./main.js');
const given = JSON.parse(fs.readFileSync(path.join(__dirname, 'args.json'), 'utf8'));

async function run() {
  const value = await main(given);
  if (JSON.stringify(value) === undefined) throw new Error('main returned no value');
  const document = JSON.stringify({ present: true, value, type: 'json' });
  console.log('__RAGFLOW_RESULT__:' + Buffer.from(document).toString('base64'));
}

run().catch((error) => {
  console.error(error);
  process.exitCode = 1;
});
