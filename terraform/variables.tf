variable "project_id" {
  type        = string
  description = "Google Cloud project that everything lives in; tftctl.yaml calls it `project`."

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{4,28}[a-z0-9]$", var.project_id))
    error_message = "A project's id has 6 to 30 lower-case letters, digits and hyphens; its number or display name will not do."
  }
}

variable "region" {
  type        = string
  description = "Region of the bucket and of the image repository. Vertex AI takes images of its own region only."
  default     = "us-central1"

  validation {
    condition     = can(regex("^[a-z]+-[a-z]+[0-9]+$", var.region))
    error_message = "A region looks like us-central1; zones and multi-regions will not do."
  }
}

variable "name" {
  type        = string
  description = "Name of the service; tftctl.yaml calls it `name` too. Everything made here is named after it."

  validation {
    condition     = can(regex("^[a-z]([a-z0-9-]{0,20}[a-z0-9])?$", var.name))
    error_message = "A name has 1 to 22 lower-case letters, digits and hyphens and begins with a letter: 30 are left for its service account."
  }
}

variable "labels" {
  type        = map(string)
  description = "Labels of everything that can have them."
  default     = {}

  validation {
    condition     = alltrue([for k, v in var.labels : can(regex("^[a-z][a-z0-9_-]{0,62}$", k)) && can(regex("^[a-z0-9_-]{0,63}$", v))])
    error_message = "Keys and values have at most 63 lower-case letters, digits, hyphens and underscores; a key begins with a letter."
  }
}

variable "replaced_object_days" {
  type        = number
  description = "Days for which a deleted or replaced object of the bucket can be brought back."
  default     = 30

  validation {
    condition     = var.replaced_object_days >= 1 && floor(var.replaced_object_days) == var.replaced_object_days
    error_message = "At least one whole day: who deletes a model by mistake needs time to see it."
  }
}
