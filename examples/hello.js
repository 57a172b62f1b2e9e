// The greeting example: sandpiper run examples/hello.js --arg name=World --arg count=3

async function main({ name = "World", count = 1 }) {
  console.log(`greeting ${name}, ${count} times`);
  return { message: Array(count).fill(`Hello, ${name}!`).join(" ") };
}
