// Calls octokit as a program would: reads a call as one line of JSON, writes what came back or was thrown.
import { createInterface } from "node:readline";

const [, , module, baseUrl] = process.argv;
const { Octokit } = await import(module);

async function run(octokit, { method, parameters, pages }) {
  if (method === "methods") return Object.keys(octokit.rest.packages);
  const [group, name] = method.split(".");
  const call = octokit.rest[group][name];
  if (pages) return octokit.paginate(call, parameters);
  const { status, data } = await call(parameters);
  return status === 204 ? status : data;
}

for await (const line of createInterface({ input: process.stdin })) {
  const { token, ...call } = JSON.parse(line);
  const octokit = new Octokit({ baseUrl, auth: token || undefined });
  let answer;
  try {
    answer = { value: await run(octokit, call) };
  } catch (error) {
    answer = { status: error.status, message: error.message };
  }
  console.log(JSON.stringify(answer));
}
