// Brings a task in, works on it as a worker and reads the result.
import createClient from "openapi-fetch";
import type { components, paths } from "./schema.js";

const [address, token, run] = process.argv.slice(2) as [string, string, string];
const headers = { Authorization: `Bearer ${token}` };
const client = createClient<paths>({ baseUrl: address, headers });

function told<T>(answer: { data?: T; error?: components["schemas"]["Problem"] }): T {
  if (answer.data === undefined) throw new Error(answer.error?.detail);
  return answer.data;
}

const made = told(
  await client.POST("/api/v1/tasks", { body: { title: "By hand", instance_id: run } }),
);
const claimed = told(
  await client.POST("/api/v1/instances/{id}/claim", {
    params: { path: { id: run } },
    body: { worker: "w", limit: 1 },
  }),
);
const [mine] = claimed.tasks;
if (mine?.id !== made.id) throw new Error("another task");
const params = { path: { id: made.id } };
told(
  await client.POST("/api/v1/tasks/{id}/complete", {
    params,
    body: { worker: "w", token: mine.lease.token, result: { done: true } },
  }),
);
const whole = told(await client.GET("/api/v1/tasks/{id}", { params }));
if (whole.status !== "done") throw new Error(whole.status);
const tree = told(
  await client.GET("/api/v1/instances/{id}/hierarchy", { params: { path: { id: run } } }),
);
if (tree.children.length > 0) throw new Error("children");
const unknown = await client.GET("/api/v1/tasks/{id}", { params: { path: { id: "task-none" } } });
if (unknown.error?.code !== "not_found") throw new Error("found");
if (told(await client.GET("/api/v1/tasks")).results.length === 0) throw new Error("no rows");
console.log("done");
