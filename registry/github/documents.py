"""What GitHub's clients read: accounts, repositories, packages and versions as its JSON.

Reading list: GitHub's REST API description, schemas `simple-user`, `public-user`,
`organization-full`, `minimal-repository`, `package`, `package-version`. They want many URLs; those
of what we do not have answer 404.
"""

from typing import Any
from urllib.parse import quote

from registry.owned_packages import Owner, PackageFacts, Project
from registry.repositories import CONTAINER
from registry.versions import Version
from storage.clock import rfc3339

_TYPES = {"user": "User", "organization": "Organization", "robot": "Bot"}
_OF_ACCOUNT = {
    "followers_url": "/followers",
    "following_url": "/following{/other_user}",
    "gists_url": "/gists{/gist_id}",
    "starred_url": "/starred{/owner}{/repo}",
    "subscriptions_url": "/subscriptions",
    "organizations_url": "/orgs",
    "repos_url": "/repos",
    "events_url": "/events{/privacy}",
    "received_events_url": "/received_events",
}
_OF_ORGANIZATION = {
    "repos_url": "/repos",
    "events_url": "/events",
    "hooks_url": "/hooks",
    "issues_url": "/issues",
    "members_url": "/members{/member}",
    "public_members_url": "/public_members{/member}",
}
_OF_REPOSITORY = {
    "archive_url": "/{archive_format}{/ref}",
    "assignees_url": "/assignees{/user}",
    "blobs_url": "/git/blobs{/sha}",
    "branches_url": "/branches{/branch}",
    "collaborators_url": "/collaborators{/collaborator}",
    "comments_url": "/comments{/number}",
    "commits_url": "/commits{/sha}",
    "compare_url": "/compare/{base}...{head}",
    "contents_url": "/contents/{+path}",
    "contributors_url": "/contributors",
    "deployments_url": "/deployments",
    "downloads_url": "/downloads",
    "events_url": "/events",
    "forks_url": "/forks",
    "git_commits_url": "/git/commits{/sha}",
    "git_refs_url": "/git/refs{/sha}",
    "git_tags_url": "/git/tags{/sha}",
    "hooks_url": "/hooks",
    "issue_comment_url": "/issues/comments{/number}",
    "issue_events_url": "/issues/events{/number}",
    "issues_url": "/issues{/number}",
    "keys_url": "/keys{/key_id}",
    "labels_url": "/labels{/name}",
    "languages_url": "/languages",
    "merges_url": "/merges",
    "milestones_url": "/milestones{/number}",
    "notifications_url": "/notifications{?since,all,participating}",
    "pulls_url": "/pulls{/number}",
    "releases_url": "/releases{/id}",
    "stargazers_url": "/stargazers",
    "statuses_url": "/statuses/{sha}",
    "subscribers_url": "/subscribers",
    "subscription_url": "/subscription",
    "tags_url": "/tags",
    "teams_url": "/teams",
    "trees_url": "/git/trees{/sha}",
}


class Documents:
    """Renders JSON whose links begin with `base`, this server's URL."""

    def __init__(self, base: str) -> None:
        self._base = base
        self._api = f"{base}/api/v3"

    def root(self) -> dict[str, Any]:
        """Return where things are."""
        return {
            "current_user_url": f"{self._api}/user",
            "user_url": f"{self._api}/users/{{user}}",
            "organization_url": f"{self._api}/orgs/{{org}}",
        }

    def account_url(self, owner: Owner) -> str:
        """Return where an account's packages are."""
        place = "orgs" if owner.kind == "organization" else "users"
        return f"{self._api}/{place}/{quote(owner.name)}"

    def package_url(self, package: PackageFacts) -> str:
        """Return where a package is."""
        name = quote(package.name, safe="")
        return f"{self.account_url(package.owner)}/packages/{package.format}/{name}"

    def simple_account(self, owner: Owner) -> dict[str, Any]:
        """Return an account as others mention it; who administers the site is not told."""
        url, page = f"{self._api}/users/{quote(owner.name)}", f"{self._base}/{owner.name}"
        return {
            "login": owner.name,
            "id": owner.id,
            "node_id": f"account-{owner.id}",
            "avatar_url": f"{page}.png",
            "gravatar_id": None,
            "url": url,
            "html_url": page,
            **{name: url + end for name, end in _OF_ACCOUNT.items()},
            "type": _TYPES[owner.kind],
            "site_admin": False,
        }

    def account(self, owner: Owner) -> dict[str, Any]:
        """Return an account as it shows itself."""
        return {
            **self.simple_account(owner),
            **dict.fromkeys(("name", "company", "blog", "location", "email", "hireable", "bio")),
            **_counts(owner),
        }

    def own_account(self, owner: Owner) -> dict[str, Any]:
        """Return the caller's account."""
        return {**self.account(owner), "site_admin": owner.is_admin}

    def organization(self, owner: Owner) -> dict[str, Any]:
        """Return an organization."""
        url, page = self.account_url(owner), f"{self._base}/{owner.name}"
        return {
            "login": owner.name,
            "id": owner.id,
            "node_id": f"account-{owner.id}",
            "url": url,
            **{name: url + end for name, end in _OF_ORGANIZATION.items()},
            "avatar_url": f"{page}.png",
            "html_url": page,
            "description": None,
            "has_organization_projects": False,
            "has_repository_projects": False,
            **_counts(owner),
            "archived_at": None,
            "type": "Organization",
        }

    def repository(self, owner: Owner, project: Project) -> dict[str, Any]:
        """Return a project as the repository that packages belong to."""
        full = f"{owner.name}/{project.name}"
        url = f"{self._api}/repos/{full}"
        return {
            "id": project.id,
            "node_id": f"project-{project.id}",
            "name": project.name,
            "full_name": full,
            "owner": self.simple_account(owner),
            "private": not project.public,
            "html_url": f"{self._base}/{full}",
            "description": None,
            "fork": False,
            "url": url,
            **{name: url + end for name, end in _OF_REPOSITORY.items()},
        }

    def package(self, package: PackageFacts, version_count: int) -> dict[str, Any]:
        """Return a package; without its project where the caller may not see that."""
        document = {
            "id": package.id,
            "name": package.name,
            "package_type": package.format,
            "owner": self.simple_account(package.owner),
            "version_count": version_count,
            "visibility": package.visibility.name.lower(),
            "url": self.package_url(package),
            "created_at": rfc3339(package.created_at),
            "updated_at": rfc3339(package.updated_at),
            "html_url": f"{self._base}/{package.repository}",
        }
        if package.project is not None:
            document["repository"] = self.repository(package.owner, package.project)
        return document

    def version(self, package: PackageFacts, version: Version) -> dict[str, Any]:
        """Return a version: of a container its name is the digest, and its tags are told."""
        page = f"{self._base}/{package.repository}"
        metadata: dict[str, Any] = {"package_type": package.format}
        if package.format == CONTAINER:
            metadata |= {"container": {"tags": list(version.tags)}}
        document = {
            "id": version.id,
            "name": version.name or version.digest,
            "url": f"{self.package_url(package)}/versions/{version.id}",
            "package_html_url": page,
            "created_at": rfc3339(version.created_at),
            "updated_at": rfc3339(version.updated_at),
            "html_url": f"{page}@{version.digest}",
            "metadata": metadata,
        }
        if version.deleted_at is not None:
            document["deleted_at"] = rfc3339(version.deleted_at)
        return document


def _counts(owner: Owner) -> dict[str, Any]:
    made = rfc3339(owner.created_at)
    return {
        "public_repos": owner.public_projects,
        "public_gists": 0,
        "followers": 0,
        "following": 0,
        "created_at": made,
        "updated_at": made,
    }
