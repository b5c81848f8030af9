"""Stacks of load generators in local AWS."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from local_aws import LocalAws, Stack

ROOT = Path(__file__).parents[2]
TEMPLATE = ROOT / "examples" / "load-generator.yaml"


@dataclass
class Generator:
    """A stack of load generators."""

    aws: LocalAws
    stack: Stack

    def launch_data(self, template: str) -> dict[str, Any]:
        """What EC2 has of a launch template."""
        (version,) = self.aws.client("ec2").describe_launch_template_versions(
            LaunchTemplateId=self.stack.resources[template].physical_id
        )["LaunchTemplateVersions"]
        data: dict[str, Any] = version["LaunchTemplateData"]
        return data

    def user_data(self, template: str) -> str:
        """What a new machine runs."""
        return b64decode(self.launch_data(template)["UserData"]).decode()

    @property
    def environment(self) -> Mapping[str, str]:
        """What a machine finds at its metadata service: the credentials of its role."""
        return self.aws.environment(role_arn=self.stack.outputs["RoleArn"])


@dataclass
class Generators:
    """Deploys stacks of load generators for a relay."""

    aws: LocalAws
    relay: Stack

    def deploy(self, name: str, **parameters: Any) -> Generator:
        """Deploys one in the default network; its bundle need not exist."""
        (network, *_) = self.aws.client("ec2").describe_subnets()["Subnets"]
        given = {
            "Vpc": network["VpcId"],
            "Subnet": network["SubnetId"],
            "Bundle": f"{self.relay.outputs['RelayTo']}/load-generator/bundle.tar.gz",
            "RelayTo": self.relay.outputs["RelayTo"],
            "UploaderPolicyArn": self.relay.outputs["UploaderPolicyArn"],
            **parameters,
        }
        return Generator(self.aws, self.aws.deploy(TEMPLATE, given, name=name))
