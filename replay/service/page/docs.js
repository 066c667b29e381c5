// The OpenAPI document in Swagger UI, after a form for the token if the service needs one.

import { request, setToken } from "./server.js";

const byId = (id) => document.getElementById(id);

async function show(token) {
  try {
    // This Swagger UI accepts version 3.0 only; it shows our 3.1 document in the same way.
    const spec = { ...(await request("/openapi.json")), openapi: "3.0.3" };
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
  setToken(token);
  show(token);
});
await show(null);
document.body.dataset.ready = "yes";
