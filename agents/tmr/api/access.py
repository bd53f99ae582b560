# SPDX-License-Identifier: Apache-2.0
"""The access list as the client API has it: who may use what. An empty list admits everyone.

Rules are read from the top. The first of the effects `allow` and `deny` that is about the licence and matches
decides; where a licence has an `allow` rule, who matches none is denied. `limit`: those who match use at most
so many seats of a licence together. `reserve`: so many seats of it are kept for those who match.
"""

from enum import StrEnum
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from tmr.api.fields import WHOLE, FirmCode, ProductCode, Text, TmrId

Name = Annotated[Text, StringConstraints(min_length=1, max_length=128)]


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Effect(StrEnum):
    """Effect of a rule on those that it names."""

    ALLOW = "allow"
    DENY = "deny"
    RESERVE = "reserve"
    LIMIT = "limit"


class SubjectMatch(_Strict):
    """Match of a rule.

    Each list that is given must match, by any one of its entries; without a list it matches everyone.

    `users` and `hosts` are what the client says of itself, `certificates` the name in its certificate. They
    may hold `*` and `?`; hosts are compared without regard to case.
    """

    users: tuple[Name, ...] = Field(default=(), examples=[["anna", "press-*"]])
    hosts: tuple[Name, ...] = Field(default=(), examples=[["cad-*"]])
    certificates: tuple[Name, ...] = ()
    networks: tuple[Name, ...] = Field(default=(), description="CIDR.", examples=[["10.1.0.0/16"]])
    groups: tuple[Name, ...] = Field(default=(), description="Names of groups of this list.")


class AccessRule(_Strict):
    """One rule. Without a Firm Code it is about every licence, without a Product Code about every product."""

    name: Name = Field(description="What a refused client is told.", examples=["site-north"])
    effect: Effect
    who: SubjectMatch = SubjectMatch()
    seats: Annotated[
        int | None,
        Field(strict=True, ge=1, le=2**31 - 1, description="For `reserve` and `limit`."),
        WHOLE,
    ] = None
    firm_code: FirmCode | None = None
    product_code: ProductCode | None = None
    tmr_id: TmrId | None = None


class AccessRules(_Strict):
    """The rules in their order. A member of a group matches by any one of all the entries of the group."""

    rules: tuple[AccessRule, ...] = Field(default=(), max_length=500)
    groups: dict[Name, SubjectMatch] = Field(default={}, max_length=200)


class AccessList(AccessRules):
    """The access list that is in force, or is to be."""

    version: Annotated[
        int,
        Field(
            strict=True,
            ge=0,
            description="Counts the changes. To change the list, give the version that it replaces.",
        ),
        WHOLE,
    ]
