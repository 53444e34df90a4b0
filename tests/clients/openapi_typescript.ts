// What a user of openapi-typescript with openapi-fetch writes.
import assert from "node:assert/strict";
import createClient from "openapi-fetch";
import type { components, paths } from "./contacts";

async function main() {
  const client = createClient<paths>({ baseUrl: process.argv[2] });
  const number = "+4420000002";

  const created = await client.POST("/api/contacts", {
    body: { phone_number: number, name: "John Doe", metadata: { plan: "gold" } },
  });
  assert(created.data);
  const contact: components["schemas"]["Contact"] = created.data.data;
  assert.equal(contact.metadata.plan, "gold");
  const params = { path: { id: contact.id } };

  const page = await client.GET("/api/contacts", { params: { query: { phone_number: number, sort: "created" } } });
  assert.deepEqual(page.data?.data.items.map((each) => each.id), [contact.id]);
  assert.equal((await client.GET("/api/contacts/{id}", { params })).data?.data.name, "John Doe");
  const updated = await client.PUT("/api/contacts/{id}", { params, body: { name: null } });
  assert.equal(updated.data?.data.name, null);
  const assigned = await client.PUT("/api/contacts/{id}/assign", { params, body: { user_id: null } });
  assert.equal(assigned.data?.data.assigned_to, null);

  const received = await client.POST("/api/messages", {
    body: {
      contact: { phone_number: number, profile_name: "John" },
      wa_message_id: "wamid.typescript", direction: "incoming", type: "text", content: { body: "Hello" },
    },
  });
  const matchedBy: components["schemas"]["MatchedBy"] | null | undefined = received.data?.data.matched_by;
  assert.equal(matchedBy, "phone_number");
  assert.equal(received.data?.data.status, null);

  assert.equal((await client.DELETE("/api/contacts/{id}", { params })).data?.data, null);
  const gone = await client.GET("/api/contacts/{id}", { params });
  assert.equal(gone.response.status, 404);
  assert.equal(gone.error?.code, "contact_not_found");
}

main();
