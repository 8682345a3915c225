"""Network policies allow exactly these connections. The policies of both ends must allow each of them."""

from itertools import product

from support.manifests import Cluster, Manifest, container_of, labels_of, selects

# From, to, port.
INSIDE = {
    ("gateway", "auth", 8001),
    ("gateway", "tweet", 8002),
    ("gateway", "sync", 8003),
    ("tweet", "auth", 8001),
    ("sync", "auth", 8001),
    ("sync", "registrar", 8004),
}
# Namespace, to, port.
INTO = {
    ("ingress", "gateway", 8080),
    # Only /metrics is served there.
    ("monitoring", "auth", 9464),
    ("monitoring", "tweet", 9464),
    ("monitoring", "sync", 9464),
    ("monitoring", "registrar", 9464),
}
# From, and the ports of external servers: MySQL 3306, MongoDB 27017, Kafka 9092, Connect 8083, mail 465 and 587.
OUT = {
    "gateway": set(),
    "auth": {3306, 465, 587},
    "tweet": {27017},
    "sync": {3306, 27017, 9092},
    "registrar": {3306, 27017, 9092, 8083},
}


def policies_of(cluster: Cluster, labels: dict[str, str], direction: str) -> list[Manifest]:
    """The rules of all policies for these pods in this direction, `ingress` or `egress`."""
    return [
        rule
        for policy in cluster.of_kind("NetworkPolicy")
        if selects(policy["spec"]["podSelector"], labels)
        for rule in policy["spec"].get(direction, [])
    ]


def allows(rules: list[Manifest], side: str, peer: Manifest, port: int, named: str) -> bool:
    """Does one of the rules allow this peer and this port, by number or by name?"""
    return any(
        any(_is_peer(each, peer) for each in rule.get(side, []))
        and any(each["port"] in (port, named) for each in rule["ports"])
        for rule in rules
    )


def _is_peer(allowed: Manifest, peer: Manifest) -> bool:
    if "ipBlock" in allowed:
        return False
    if "namespaceSelector" in allowed or "namespace" in peer:
        namespace = {"kubernetes.io/metadata.name": peer.get("namespace", "tandem")}
        if not selects(allowed.get("namespaceSelector", {"matchLabels": {"none": "none"}}), namespace):
            return False
    return selects(allowed.get("podSelector", {}), peer.get("labels", {}))


def test_traffic_is_denied_by_default(cluster: Cluster) -> None:
    deny = cluster.get("NetworkPolicy", "default-deny")["spec"]
    assert (deny["podSelector"], set(deny["policyTypes"])) == ({}, {"Ingress", "Egress"})
    assert not {"ingress", "egress"} & deny.keys()


def test_allowed_connections_between_pods(cluster: Cluster) -> None:
    pods = {name: labels_of(each) for name, each in cluster.deployments.items()}
    ports = {name: container_of(each)["ports"][0]["containerPort"] for name, each in cluster.deployments.items()}
    allowed = {
        (source, target, port)
        for (source, target), port in product(product(pods, pods), ports.values())
        if allows(policies_of(cluster, pods[source], "egress"), "to", {"labels": pods[target]}, port, "")
        and allows(
            policies_of(cluster, pods[target], "ingress"),
            "from",
            {"labels": pods[source]},
            port,
            "http" if port == ports[target] else "",
        )
    }
    assert allowed == {edge for edge in INSIDE if edge[1] in pods}


def test_allowed_connections_from_other_namespaces(cluster: Cluster) -> None:
    pods = {name: labels_of(each) for name, each in cluster.deployments.items()}
    allowed = {
        (namespace, name, port["containerPort"])
        for namespace, name in product(("ingress", "monitoring", "default"), pods)
        for port in container_of(cluster.deployments[name])["ports"]
        if allows(
            policies_of(cluster, pods[name], "ingress"),
            "from",
            {"namespace": namespace},
            port["containerPort"],
            port["name"],
        )
    }
    assert allowed == {edge for edge in INTO if edge[1] in pods}
    for name in {edge[1] for edge in allowed if edge[0] == "monitoring"}:
        assert cluster.variables(name)["METRICS_PORT"] == "9464"


def test_allowed_ports_of_external_servers(cluster: Cluster) -> None:
    for name, deployment in cluster.deployments.items():
        rules = policies_of(cluster, labels_of(deployment), "egress")
        anywhere = {each["port"] for rule in rules if "to" not in rule for each in rule["ports"]}
        assert anywhere == OUT[name], name


def test_every_pod_may_resolve_names(cluster: Cluster) -> None:
    core = {"namespace": "kube-system", "labels": {"k8s-app": "kube-dns"}}
    of_openshift = {"namespace": "openshift-dns", "labels": {"dns.operator.openshift.io/daemonset-dns": "default"}}
    for deployment in cluster.deployments.values():
        rules = policies_of(cluster, labels_of(deployment), "egress")
        assert allows(rules, "to", core, 53, "")
        assert allows(rules, "to", of_openshift, 5353, "")
        # NodeLocal DNSCache, which has an address of the node.
        (cached,) = [rule for rule in rules if {"ipBlock": {"cidr": "169.254.20.10/32"}} in rule.get("to", [])]
        assert {each["port"] for each in cached["ports"]} == {53}
