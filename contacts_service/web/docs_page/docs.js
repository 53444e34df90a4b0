// Swagger UI, with a curl line for each operation, errors folded into a line each, and ids filled in from answers.

const CurlLine = () => ({
  wrapComponents: {
    parameters: (Original, { React, specSelectors }) => (props) => {
      const samples = specSelectors.specJson().getIn(["paths", ...props.pathMethod, "x-codeSamples"]);
      const id = props.parameters.find((parameter) => parameter.get("name") === "id");
      let source = samples.getIn([0, "source"]).replace("http://127.0.0.1:8000", location.origin);
      const value = id && specSelectors.parameterWithMetaByIdentity(props.pathMethod, id).get("value");
      if (value) source = source.replace(id.get("example"), value);
      const line = React.createElement("pre", { className: "curl-example microlight" }, source);
      return React.createElement("div", {}, line, React.createElement(Original, props));
    },
  },
});

const FoldedErrors = () => ({
  wrapComponents: {
    response: (Original, { React }) => (props) => {
      const element = React.createElement;
      const response = element(Original, props);
      if (props.code < "400" || !props.response) return response;
      const table = element("table", { className: "responses-table" }, element("tbody", {}, response));
      const summary = element("summary", {}, `${props.code} ${props.response.get("description")}`);
      const folded = element("details", { className: "error" }, summary, table);
      return element("tr", { className: "response" }, element("td", { colSpan: 3 }, folded));
    },
  },
});

// After an answer, the operations on what it tells of start with its id.
function fillIn(response) {
  const data = response.ok && response.obj && response.obj.data;
  const first = data && data.items ? data.items[0] : data;
  if (!first || !first.id) return response;
  const [kind, , part] = new URL(response.url).pathname.split("/").slice(2);
  const prefix = `/api/${part === "messages" ? part : kind}/{id}`;
  ui.specSelectors.paths().forEach((operations, path) => {
    if (!path.startsWith(prefix)) return;
    operations.keySeq().filter((name) => name !== "parameters").forEach((method) => {
      ui.specActions.changeParam([path, method], "id", "path", first.id);
    });
  });
  return response;
}

const ui = SwaggerUIBundle({
  url: "/openapi.json",
  dom_id: "#swagger-ui",
  deepLinking: true,
  displayRequestDuration: true,
  persistAuthorization: true,
  tryItOutEnabled: true,
  validatorUrl: null,
  defaultModelsExpandDepth: 0,
  plugins: [CurlLine, FoldedErrors],
  responseInterceptor: fillIn,
});
