// An OpenID Connect provider on loopback: node provider.mjs LIBRARY ACCOUNTS READY
//
// LIBRARY is the entry of the npm package oidc-provider; ACCOUNTS a JSON file of {login: claims},
// read at every use; READY is written, with the issuer in it, once the provider answers.
import { createServer } from "node:http";
import { readFileSync, realpathSync, renameSync, writeFileSync } from "node:fs";
import { pathToFileURL } from "node:url";

const [library, accounts, ready] = process.argv.slice(2);
const { Provider } = await import(pathToFileURL(realpathSync(library)));
const back = "http://127.0.0.1/-/ui/callback/";

const server = createServer();
server.listen(0, "127.0.0.1", () => {
  const issuer = `http://127.0.0.1:${server.address().port}`;
  const provider = new Provider(issuer, {
    clients: [
      { client_id: "packhouse", client_secret: "a secret: +%/&=?", redirect_uris: [back] },
      {
        client_id: "packhouse-ec",
        token_endpoint_auth_method: "none",
        id_token_signed_response_alg: "ES256",
        redirect_uris: [back],
      },
    ],
    claims: { openid: ["sub"], profile: ["preferred_username"], groups: ["groups"] },
    scopes: ["openid", "profile", "groups"],
    clientBasedCORS: () => false,
    pkce: { required: () => true },
    responseTypes: ["code"],
    enabledJWA: { idTokenSigningAlgValues: ["RS256", "ES256"] },
    jwks: JSON.parse(process.env.KEYS),
    features: { devInteractions: { enabled: true } },
    findAccount: (_, id) => ({
      accountId: id,
      claims: () => ({ sub: id, ...JSON.parse(readFileSync(accounts, "utf8"))[id] }),
    }),
    // Nobody is asked whether Packhouse may know who they are.
    loadExistingGrant: async (context) => {
      const { client, session, provider } = context.oidc;
      const grant = new provider.Grant({ clientId: client.clientId, accountId: session.accountId });
      grant.addOIDCScope("openid profile groups");
      await grant.save();
      return grant;
    },
  });
  // The port of Packhouse is not known yet: it asks this provider when it starts.
  provider.Client.prototype.redirectUriAllowed = (uri) => {
    const { protocol, hostname, pathname } = new URL(uri);
    return `${protocol}//${hostname}${pathname}`.startsWith(back);
  };
  server.on("request", provider.callback());
  writeFileSync(`${ready}.partial`, JSON.stringify({ issuer }));
  renameSync(`${ready}.partial`, ready);
});
