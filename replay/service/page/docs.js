// Shows the OpenAPI document with Swagger UI; where it needs a token, asks for it first.

import { ask, useToken } from "./server.js";

const byId = (id) => document.getElementById(id);

async function show(token) {
  try {
    // This Swagger UI refuses any version but 3.0; what it shows of 3.1 reads the same.
    const spec = { ...(await ask("/openapi.json")), openapi: "3.0.3" };
    const ui = window.SwaggerUIBundle({ spec, domNode: byId("routes"), deepLinking: false, validatorUrl: null, defaultModelsExpandDepth: 0 });
    if (token) ui.preauthorizeApiKey("HTTPBearer", token);
    byId("token-form").hidden = true;
    byId("problem").hidden = true;
  } catch (error) {
    byId("token-form").hidden = error.status !== 401;
    byId("problem").hidden = error.status === 401 && !token;
    byId("problem").textContent = error.message;
  }
}

byId("token-form").addEventListener("submit", (event) => {
  event.preventDefault();
  const token = byId("token").value.trim();
  useToken(token);
  show(token);
});
await show(null);
document.body.dataset.ready = "yes";
